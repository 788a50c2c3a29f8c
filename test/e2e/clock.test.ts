import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { findClock, showClock, unclocked } from '../helpers/destruction/clock.ts';
import { startMaster, temporaryFolder } from '../helpers/rig.ts';

const library = findClock();
const needsClock = library === undefined ? { skip: 'needs libfaketime' } : {};

test('A clock that jumps hurries nothing and delays nothing: the master goes by the monotonic one', needsClock, async () => {
  using folder = temporaryFolder();
  const gate = join(folder.path, 'gate');
  using clock = showClock(join(folder.path, 'clock'), library as string);
  const environment = join(folder.path, 'env');
  writeFileSync(
    environment,
    Object.entries(unclocked)
      .map(([key, value]) => `${key}=${value}\n`)
      .join(''),
  );
  writeFileSync(gate, '');
  await using rig = await startMaster({
    script: 'waits-for-file.cjs',
    env: { GATE: gate, ...clock.env },
    flags: ['--ready-timeout', '10m', '--backoff-min', '100ms', '--environment-file', environment],
  });
  clock.pids.push(rig.pid);
  rmSync(gate);
  rig.forget();
  rig.signal('SIGHUP');
  await rig.until('worker-spawned');
  clock.set('+20y');
  rig.signal('SIGHUP');
  const { time } = await rig.until('reload-queued');
  assert.ok(Date.parse(time as string) > Date.now() + 365 * 24 * 3600 * 1000, 'the master sees another time of day');
  assert.equal((await rig.status()).reload.phase, 'starting');
  writeFileSync(gate, '');
  await rig.until('reload-finished', ({ generation, outcome }) => generation === 3 && outcome === 'committed');
  for (let crash = 1; crash <= 3; crash++) {
    const pid = await rig.waitFor(() => rig.events.findLast(({ event }) => event === 'worker-serving')?.['pid'] as number, 'a worker');
    rig.forget();
    process.kill(pid, 'SIGKILL');
    if (crash > 1) await rig.until('restart-scheduled');
    clock.set(`-${crash}y`);
    await rig.until('worker-serving');
  }
  assert.deepEqual(rig.all('worker-unfit'), []);
});
