/** State of a program that crosses to another worker: what can be structured-cloned arrives as it was, on every version of Node. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deserialize, serialize } from 'node:v8';
import fc from 'fast-check';
import { readState, STATE_LIMIT, writeState } from '../../../src/worker/handoff/state.ts';

/** As it crosses: in JSON. */
function cross(state: unknown): unknown {
  return readState(JSON.parse(JSON.stringify(writeState(state))));
}

const numbers = Uint8Array.from([1, 2, 255]);

const states: Record<string, unknown> = {
  primitives: [undefined, null, true, 'text', '\0\ud800', 0, -0, 1.5, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 2n ** 70n],
  'a Map of Maps': new Map([[new Map([[1, 'a']]), new Set([1, undefined, 'b'])]]),
  dates: [new Date(0), new Date(1e12)],
  'a regular expression': /a(b)/giu,
  'a Buffer': Buffer.from('bytes'),
  views: [numbers, new Float64Array([1.5, -0]), new BigInt64Array([-1n]), new DataView(numbers.buffer), new Uint8ClampedArray([300])],
  'an ArrayBuffer': numbers.buffer,
  'an array with holes and properties': Object.assign(new Array(3), { 0: 1, 2: 3, more: 'x' }),
  'boxed primitives': [Object(1), Object('a'), Object(false), Object(10n)],
  'a property called __proto__': JSON.parse('{"__proto__": {"a": 1}, "constructor": 2}'),
  'an empty object': {},
};

for (const [name, state] of Object.entries(states)) {
  test(`State crosses as a structured clone does: ${name}`, () => assert.deepStrictEqual(cross(state), deserialize(serialize(state))));
}

test('State crosses as a structured clone does: a date that is none', () => assert.ok(Number.isNaN((cross(new Date(Number.NaN)) as Date).getTime())));

test('State crosses as a structured clone does: errors with message, stack and cause', () => {
  const error = new RangeError('too much', { cause: new Error('why') });
  const crossed = cross(error) as RangeError;
  assert.ok(crossed instanceof RangeError);
  assert.deepEqual([crossed.name, crossed.message, crossed.stack], ['RangeError', error.message, error.stack]);
});

test('State crosses as a structured clone does: what refers to itself, and what is shared', () => {
  const shared = { a: 1 };
  const state: Record<string, unknown> = { first: shared, second: [shared] };
  state['self'] = state;
  const crossed = cross(state) as { first: object; second: [object]; self: object };
  assert.equal(crossed.self, crossed);
  assert.equal(crossed.first, crossed.second[0]);
});

test('State crosses as a structured clone does: an instance of a class as a plain object', () => {
  class Session {
    user = 'x';
    greet() {}
  }
  assert.deepStrictEqual(cross(new Session()), { user: 'x' });
});

test('State crosses as a structured clone does: anything', () => {
  const anything = fc.anything({
    withBigInt: true,

    withMap: true,
    withSet: true,
    withTypedArray: true,
    withSparseArray: true,
    withBoxedValues: true,
  });
  fc.assert(fc.property(anything, (state) => assert.deepStrictEqual(cross(state), deserialize(serialize(state)))));
});

test('What can’t be cloned does not cross, and the error says so', () => {
  for (const state of [() => {}, { call() {} }, Symbol('s'), new WeakMap(), Promise.resolve()]) assert.throws(() => writeState(state));
});

test('State that takes more than the limit as V8 serializes it does not cross', () => {
  assert.throws(() => writeState('x'.repeat(STATE_LIMIT)), /takes 65\d{3} bytes, the limit is 65536/);
  assert.equal(cross('x'.repeat(STATE_LIMIT - 10)), 'x'.repeat(STATE_LIMIT - 10));
});

test('What is written is JSON of this package, and nothing of V8’s, which changes with Node', () => {
  const written = writeState({ user: 'x', when: new Date(5), seen: new Set([1n]) });
  const objects = [
    ['object', 'user', 'x', 'when', [1], 'seen', [2]],
    ['Date', 5],
    ['Set', ['bigint', '1']],
  ];
  assert.deepEqual(written, [1, [0], objects]);
});

test('What a later format or a later Node has written is refused with a reason', () => {
  assert.throws(() => readState([2, 'x', []]), /written in format 2, and format 1 is read here/);
  assert.throws(() => readState([1, [0], [['view', 'Float8Array', '']]]), /this version of Node, v\d+.*, has no Float8Array/);
  assert.throws(() => readState([1, [0], [['Temporal.Instant', '']]]), /does not know what Temporal.Instant is/);
});
