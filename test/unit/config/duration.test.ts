/** What a length of time may be written as. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as v from 'valibot';
import { duration } from '../../../src/config/forms.ts';

/** Milliseconds, or what was expected. */
function read(value: unknown, minMs = 0): number | string {
  const result = v.safeParse(duration(minMs), value);
  return result.success ? result.output : result.issues[0].message;
}

describe('a time in milliseconds', () => {
  const good: readonly (readonly [unknown, number])[] = [
    ['500ms', 500],
    ['1s', 1000],
    ['5m', 300_000],
    ['2h', 7_200_000],
    ['1d', 86_400_000],
    ['1h30m', 5_400_000],
    ['1d2h3m4s5ms', 93_784_005],
    ['1.5s', 1500],
    ['0.25m', 15_000],
    ['0s', 0],
    ['0', 0],
    [0, 0],
    ['24d', 2_073_600_000],
  ];
  for (const [written, ms] of good) test(`${JSON.stringify(written)} is ${ms}`, () => assert.equal(read(written), ms));
});

describe('no time', () => {
  const bad = [
    '',
    ' ',
    '30',
    30,
    -1,
    '-1s',
    '+1s',
    '1 s',
    '1S',
    '1sec',
    's',
    '.5s',
    '1.s',
    '1e3s',
    '1s ',
    '25d',
    '24d1ms',
    'Infinity',
    null,
    undefined,
    true,
    ['1s'],
    {},
  ];
  for (const written of bad) test(String(JSON.stringify(written)), () => assert.equal(read(written), 'a time such as 500ms, 30s, 5m or 1h30m, at most 24d'));
});

test('a time that has to pass can not be 0', () => {
  assert.equal(read('1ms', 1), 1);
  for (const written of [0, '0', '0s', '0.4ms']) assert.equal(read(written, 1), 'a time such as 500ms, 30s, 5m or 1h30m, above 0 and at most 24d');
});
