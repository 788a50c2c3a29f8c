import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { hasLivingIn, kernel } from '../../../../src/kernel.ts';
import { sweepGroup } from '../../../../src/master/workers/leftovers.ts';
import { temporaryFolder } from '../../../helpers/rig.ts';

/** A kernel whose group has these signals in it so long. */
function groupThat(isLeft: (sent: readonly unknown[]) => boolean, hasLiving: () => boolean = () => true) {
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
    hasLiving,
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

test('The dead, whom nobody reaps, are not waited for', async () => {
  const { fake, sent, pass } = groupThat(
    () => true,
    () => false,
  );
  const swept = sweepGroup(1, fake);
  pass(50);
  await swept;
  assert.deepEqual(sent, ['SIGTERM']);
});

test('The living are told from the dead by the kernel; where it does not tell, nobody is dead', () => {
  using folder = temporaryFolder();
  const tell = (pid: number, stat: string) => {
    mkdirSync(join(folder.path, String(pid)), { recursive: true });
    writeFileSync(join(folder.path, String(pid), 'stat'), stat);
  };
  const hasLiving = () => hasLivingIn(folder.path, 4711);
  assert.equal(hasLiving(), true);
  tell(7, '7 (a) S 1 4711) Z 1 4711 4711 0');
  tell(8, '8 (another) S 1 4712 4712 0');
  mkdirSync(join(folder.path, '9')); // it has just ended
  assert.equal(hasLiving(), false);
  tell(10, '10 (sleep) S 1 4711 4711 0');
  assert.equal(hasLiving(), true);
  assert.equal(hasLivingIn(join(folder.path, 'nowhere'), 4711), true);
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
