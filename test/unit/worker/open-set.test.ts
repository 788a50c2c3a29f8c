import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { OpenSet } from '../../../src/worker/open-set.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
const isOpen = (one: { readonly open: boolean }) => one.open;

test('what is gone is forgotten without being told, however much comes and goes', async () => {
  let asked = 0;
  const set = new OpenSet<{ open: boolean }>((one) => {
    asked++;
    return one.open;
  });
  const lasting = Array.from({ length: 100 }, () => ({ open: true }));
  for (const one of lasting) set.add(one);
  const all: WeakRef<object>[] = [];
  for (let round = 0; round < 10_000; round++) {
    const one = { open: true };
    all.push(new WeakRef(one));
    set.add(one);
    one.open = false;
  }
  await new Promise((resolve) => setImmediate(resolve)); // a WeakRef holds what it was made of until the end of its turn
  collect();
  const held = all.filter((one) => one.deref() !== undefined).length;
  assert.ok(held <= lasting.length, `${held} are held`);
  assert.ok(asked <= 4 * 10_000, `asked ${asked} times`);
  assert.deepEqual(set.list(), lasting);
  assert.equal(set.size, 100);
});

test('something is open, or nothing is', () => {
  const set = new OpenSet(isOpen);
  const [first, second] = [{ open: true }, { open: true }];
  assert.equal(set.isEmpty(), true);
  set.add(first);
  set.add(second);
  first.open = false;
  assert.deepEqual([set.isEmpty(), set.has(first), set.has(second)], [false, false, true]);
  second.open = false;
  assert.deepEqual([set.isEmpty(), set.size, set.list()], [true, 0, []]);
});
