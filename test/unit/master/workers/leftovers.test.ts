import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { kernel } from '../../../../src/kernel.ts';
import { sweepGroup } from '../../../../src/master/workers/leftovers.ts';

/** A kernel whose group has these signals in it so long. */
function groupThat(isLeft: (sent: readonly unknown[]) => boolean) {
  const sent: unknown[] = [];
  let now = 0;
  let look = () => {};
  const fake = {
    now: () => now,
    every: (_ms: number, then: () => void) => {
      look = then;
      return () => {
        look = () => {};
      };
    },
    signalRest: (_leader: number, signal: unknown) => {
      if (signal !== 0) sent.push(signal);
      return isLeft(sent);
    },
  };
  const pass = (ms: number) => {
    now += ms;
    look();
  };
  return { fake, sent, pass };
}

test('A group that is empty is signalled once', async () => {
  const { fake, sent } = groupThat(() => false);
  await sweepGroup(1, fake);
  assert.deepEqual(sent, ['SIGTERM']);
});

test('Who does not end at SIGTERM is killed after 5 s, and never looked for again', async () => {
  const { fake, sent, pass } = groupThat(() => true);
  const swept = sweepGroup(1, fake);
  pass(4999);
  assert.deepEqual(sent, ['SIGTERM']);
  pass(1);
  await swept;
  pass(1000);
  assert.deepEqual(sent, ['SIGTERM', 'SIGKILL']);
});

test('A group whose leader lives is none of ours: its number was given out again', async () => {
  const leader = spawn('sleep', ['600'], { detached: true, stdio: 'ignore' }) as ChildProcess & { pid: number };
  await once(leader, 'spawn');
  assert.equal(kernel.signalRest(leader.pid, 'SIGKILL'), false);
  assert.equal(process.kill(leader.pid, 0), true);
  leader.kill('SIGKILL');
  assert.deepEqual(await once(leader, 'exit'), [null, 'SIGKILL']);
  assert.equal(kernel.signalRest(leader.pid, 0), false);
});
