import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ask, isRunning, poll, type Rig, startMaster } from '../helpers/rig.ts';

const start = () => startMaster({ script: 'leaves-children.cjs', flags: ['--linger', '50ms'] });

async function family(rig: Rig): Promise<[worker: number, child: number, detached: number]> {
  return JSON.parse((await ask(rig.url())).text);
}

for (const [how, end] of [
  ['a crash', (_rig: Rig, worker: number) => void process.kill(worker, 'SIGKILL')],
  ['a reload', (rig: Rig) => rig.hup()],
  ['a stop', (rig: Rig) => rig.stop()],
  ['the end of the master', (rig: Rig) => void process.kill(rig.pid, 'SIGKILL')],
] as const) {
  test(`The children of a worker end with it, at ${how}; one with a group of its own lives on`, async () => {
    const rig = await start();
    const [worker, child, detached] = await family(rig);
    await end(rig, worker);
    await poll(
      () => !isRunning(worker) && !isRunning(child),
      () => `worker ${isRunning(worker)}, child ${isRunning(child)}\n${rig.stderr}`,
    );
    assert.ok(isRunning(detached));
    process.kill(detached, 'SIGKILL');
    await rig.kill();
  });
}

test('A stop is over when the children have ended, too', async () => {
  const rig = await start();
  const [, child, detached] = await family(rig);
  await rig.stop();
  assert.equal(isRunning(child), false);
  process.kill(detached, 'SIGKILL');
  await rig.kill();
});
