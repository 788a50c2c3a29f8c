import assert from 'node:assert/strict';
import { Duplex } from 'node:stream';
import { test } from 'node:test';
import { kernel } from '../../../../src/kernel.ts';
import { stackAsker } from '../../../../src/master/workers/stack.ts';

/** A thread that says this when it is asked. */
function watcher(...says: readonly string[]): Duplex {
  return new Duplex({
    read() {},
    write(_question, _encoding, done) {
      for (const text of says) this.push(text);
      done();
    },
  });
}

test('Where a worker hangs is what its thread says, whole', async () => {
  const ask = stackAsker(watcher('"    at one\\n', '    at two"\n'), kernel);
  assert.deepEqual(await Promise.all([ask(), ask()]), ['    at one\n    at two', '    at one\n    at two']);
});

for (const [what, ...says] of [
  ['is no JSON', 'at one\n'],
  ['is no text', '{"toString":1}\n'],
  ['has no end', ...Array.from({ length: 20 }, () => 'x'.repeat(1024))],
] as const)
  test(`A program may write where its thread does: what ${what} is no place`, async () => {
    const patient = { ...kernel, after: () => () => {} };
    assert.equal(await stackAsker(watcher(...says), patient)(), undefined);
  });

test('A worker that has ended, or has no such thread, hangs nowhere', async () => {
  const gone = watcher();
  gone.destroy();
  assert.deepEqual([await stackAsker(gone, kernel)(), await stackAsker(undefined, kernel)()], [undefined, undefined]);
});
