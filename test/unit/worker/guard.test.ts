/** What the runtime does by itself never ends the program: an error in it becomes a notice. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { guarded, onMistake, tellMistake } from '../../../src/worker/guard.ts';

test('An error of the runtime is told once, and never thrown', () => {
  const told: string[] = [];
  onMistake((text) => told.push(text));
  const fail = guarded((what: string) => {
    throw new Error(what);
  });
  for (const what of ['first', 'first', 'second']) fail(what);
  assert.equal(told.length, 2);
  assert.match(told[0] ?? '', /^an error of the supervisor's own.*: Error: first\n {4}at /);
});

test('Nor is one thrown that can’t be told, or described', () => {
  onMistake(() => {
    throw new Error('the channel is closed');
  });
  tellMistake(new Error('third'));
  const strange = {
    get message() {
      throw new Error('no');
    },
  }; // prettier-ignore
  tellMistake(strange);
});

test('What does not fail is done as it is', () => {
  const done: number[] = [];
  guarded((a: number, b: number) => void done.push(a, b))(1, 2);
  assert.deepEqual(done, [1, 2]);
});
