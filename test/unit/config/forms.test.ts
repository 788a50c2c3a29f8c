/** Forms of single values: names, numbers, words, lists. */
import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { describe, test } from 'node:test';
import * as v from 'valibot';
import {
  type Form,
  list,
  oneOf,
  text,
  toggle,
  toHealthRequest,
  toListenSpec,
  toName,
  toStatusRange,
  toSurge,
  toWorkers,
  whole,
} from '../../../src/config/forms.ts';

/** The value, or what was expected instead. */
function read<T>(form: Form<T>, value: unknown): T | { readonly expected: string } {
  const result = v.safeParse(form, value);
  return result.success ? result.output : { expected: result.issues[0].message };
}

describe('the name of a master', () => {
  for (const good of ['a', 'app', 'my-app_2.v1', '9', 'x'.repeat(64)]) test(`"${good}"`, () => assert.equal(toName(good), good));
  for (const bad of ['', '.hidden', '..', '-x', 'a/b', 'a b', 'ä', 'x'.repeat(65), 'a\n', 7, null]) {
    test(`not ${JSON.stringify(bad)}`, () => assert.equal(toName(bad), undefined));
  }
});

describe('how many workers', () => {
  for (const [written, count] of [
    [1, 1],
    ['4', 4],
    [1024, 1024],
    ['auto', availableParallelism()],
  ] as const) {
    test(`${JSON.stringify(written)} is ${count}`, () => assert.equal(toWorkers(written), count));
  }
  for (const bad of [0, -1, 1.5, 1025, '', ' 2', '0x10', '1e2', 'all', true, null, Number.NaN, Number.POSITIVE_INFINITY, [2]]) {
    test(`not ${JSON.stringify(bad)}`, () => assert.equal(toWorkers(bad), undefined));
  }
});

test('the surge is a number or "all"', () => {
  assert.deepEqual(['all', '2', 3, 'auto', 0].map(toSurge), ['all', 2, 3, undefined, undefined]);
});

describe('a page of the program', () => {
  for (const [written, page] of [
    ['/', { port: null, path: '/' }],
    ['/healthz?full=1', { port: null, path: '/healthz?full=1' }],
    [':8080/healthz', { port: 8080, path: '/healthz' }],
  ] as const) {
    test(written, () => assert.deepEqual(toHealthRequest(written), page));
  }
  for (const bad of ['', 'healthz', ':8080', ':0/', ':65536/', ':x/', '/a b', '/ä', '/a\r\nX: y', 'http://x/', `/${'x'.repeat(2001)}`, 7, null, ['/']]) {
    test(`not ${JSON.stringify(bad)?.slice(0, 40)}`, () => assert.equal(toHealthRequest(bad), undefined));
  }
});

test('statuses are one or a range', () => {
  assert.deepEqual(['204', 204, '200-299', '200-200'].map(toStatusRange), [
    [204, 204],
    [204, 204],
    [200, 299],
    [200, 200],
  ]);
  for (const bad of ['', '2xx', '20', '100', '600', '299-200', '200-', '-200', '200-299-300', 0, null, ['x']]) assert.equal(toStatusRange(bad), undefined);
});

test('a port may be written as a number', () => {
  assert.deepEqual(toListenSpec(8080), toListenSpec('8080'));
  assert.equal(toListenSpec(true), undefined);
});

test('a whole number has bounds, and they are named', () => {
  assert.equal(read(whole(1, 9), '9'), 9);
  for (const bad of [0, '10', 1.5, '', null]) assert.deepEqual(read(whole(1, 9), bad), { expected: 'a whole number from 1 to 9' });
});

test('a toggle takes the words of environments', () => {
  for (const on of [true, 'true', 'TRUE', '1', 'yes']) assert.equal(read(toggle(), on), true);
  for (const off of [false, 'false', '0', 'no']) assert.equal(read(toggle(), off), false);
  for (const bad of ['', 'on', 'maybe', 2, null]) assert.deepEqual(read(toggle(), bad), { expected: 'true or false' });
});

test('one of some words is nothing else, and all are named', () => {
  assert.equal(read(oneOf(['a', 'b', 'c']), 'b'), 'b');
  for (const bad of ['B', 'd', '', 1, null]) assert.deepEqual(read(oneOf(['a', 'b', 'c']), bad), { expected: 'a, b or c' });
});

test('a text is not empty', () => {
  assert.equal(read(text(), 'x'), 'x');
  for (const bad of ['', 1, null, ['x']]) assert.deepEqual(read(text(), bad), { expected: 'a text that is not empty' });
});

test('a list is one item or several, each of them checked', () => {
  assert.deepEqual(read(list(text()), 'a'), ['a']);
  assert.deepEqual(read(list(text()), ['a', 'b']), ['a', 'b']);
  assert.deepEqual(read(list(text()), []), []);
  assert.deepEqual(read(list(text()), ['a', '']), { expected: 'a text that is not empty' });
});
