import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeGuard } from '../../../../src/master/workers/guard.ts';
import { defaultTimes } from '../../../../src/protocol/worker.ts';

const file = { path: '/run/x', dev: 1, ino: 2, birthtimeMs: 3 };

/** Shells that end as soon as they have read a word; time passes when it is told to. */
function worldWithoutPeace() {
  const heard: string[] = [];
  const pauses: number[] = [];
  let pending: (() => void) | undefined;
  let now = 0;
  const kernel = {
    now: () => now,
    after: (ms: number, then: () => void) => {
      pauses.push(ms);
      pending = then;
      return () => {
        pending = undefined;
      };
    },
    startShell: (_script: string, onEnd: () => void) => ({
      write(text: string) {
        heard.push(text);
        queueMicrotask(onEnd);
        return true;
      },
    }),
  };
  const passPause = () => {
    now += pauses.at(-1) ?? 0;
    pending?.();
  };
  return { kernel, heard, pauses, passPause };
}

test('A shell that is ended again and again is started ever more rarely, and each is told all', async () => {
  const { kernel, heard, pauses, passPause } = worldWithoutPeace();
  const guard = makeGuard(kernel);
  guard.watch(7, defaultTimes);
  await null;
  guard.watch(8, defaultTimes); // nobody is there
  guard.keep([file]);
  guard.forget(7);
  for (let round = 0; round < 12; round++) {
    passPause();
    await null;
  }
  assert.deepEqual(pauses.slice(0, 4), [100, 200, 400, 800]);
  assert.equal(pauses.at(-1), 60_000);
  assert.deepEqual(new Set(heard.slice(1)), new Set(['=\nf 2 /run/x\n+ 8 30 70\n']));
  guard.end();
  const before = heard.length;
  passPause();
  assert.equal(heard.length, before, 'no other one in the end');
});
