import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tellSeldom } from '../../../../src/master/workers/seldom.ts';

test('The first is told at once, the others once a minute, with how many there were', () => {
  const told: [number, string][] = [];
  let now = 0;
  const happens = tellSeldom<string>(
    () => now,
    (count, last) => told.push([count, last]),
  );
  for (const at of [0, 1, 59_999, 60_000, 60_001, 120_000]) {
    now = at;
    happens(`at ${at}`);
  }
  assert.deepEqual(told, [
    [1, 'at 0'],
    [3, 'at 60000'],
    [2, 'at 120000'],
  ]);
});
