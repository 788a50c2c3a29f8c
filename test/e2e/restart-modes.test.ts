import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { exitCodes } from '../../src/errors.ts';
import { ask, type Rig, startMaster, temporaryFolder } from '../helpers/rig.ts';

const SIGKILLED = 137;
const SIGTERMED = 143;
const restart = (mode: string, ...flags: readonly string[]) => ['--restart', mode, ...flags];
const start = (mode: string, ...flags: readonly string[]) => startMaster({ script: 'ends-on-request.cjs', flags: restart(mode, ...flags) });

/** The worker that answers ends. */
async function end(rig: Rig, path: string): Promise<void> {
  await assert.rejects(ask(`${rig.url()}${path}`));
}

async function isReplaced(rig: Rig, path: string): Promise<void> {
  rig.forget();
  await end(rig, path);
  await rig.until('worker-serving');
  assert.equal((await ask(rig.url())).status, 200);
}

test('--restart always: whatever a worker ends with, another one is started', async () => {
  await using rig = await start('always');
  for (const path of ['/exit/0', '/exit/3', '/kill/SIGKILL']) await isReplaced(rig, path);
  assert.equal((await rig.stop()).code, 0);
});

test('--restart on-failure: who fails is replaced; who ends with 0 has completed, and the master with it', async () => {
  await using rig = await start('on-failure');
  for (const path of ['/exit/3', '/kill/SIGKILL']) await isReplaced(rig, path);
  await end(rig, '/exit/0');
  assert.equal((await rig.finished).code, 0);
  assert.match((await rig.until('worker-completed')).message, /has ended as it should \(--restart\)$/);
});

for (const [path, code] of [
  ['/exit/0', 0],
  ['/exit/3', 3],
  ['/kill/SIGKILL', SIGKILLED],
] as const) {
  test(`--restart never: the master ends as the worker did: ${path}`, async () => {
    await using rig = await start('never');
    await end(rig, path);
    assert.equal((await rig.finished).code, code);
    assert.equal(rig.all('worker-spawned').length, 1);
  });
}

for (const mode of ['on-failure', 'never']) {
  test(`--restart ${mode}: stopped, it ends with 0, and a reload starts a new generation as ever`, async () => {
    await using rig = await start(mode, '--workers', '2');
    assert.equal((await rig.hup())['outcome'], 'committed');
    assert.equal((await rig.pids()).length, 2);
    assert.equal((await rig.stop()).code, 0);
    assert.deepEqual(rig.all('worker-completed'), []);
  });
}

test('--restart never with several workers: the others go on; the first that failed gives the exit code', async () => {
  await using rig = await start('never', '--workers', '3');
  for (const [path, left] of [
    ['/exit/0', 2],
    ['/exit/3', 1],
  ] as const) {
    await end(rig, path);
    await rig.waitFor(() => rig.all('worker-completed').length === 3 - left || undefined, 'the end');
    assert.equal((await rig.pids()).length, left);
    assert.equal((await ask(rig.url())).status, 200);
  }
  await end(rig, '/kill/SIGKILL');
  assert.equal((await rig.finished).code, 3);
});

for (const [mode, how, code] of [
  ['never', '0', 0],
  ['never', '3', 3],
  ['never', 'SIGKILL', SIGKILLED],
  ['never', 'SIGTERM', SIGTERMED],
  ['on-failure', 'SIGTERM', SIGTERMED],
  ['on-failure', '0', 0],
  ['on-failure', '3', exitCodes['start-failed']],
  ['always', '0', exitCodes['start-failed']],
] as const) {
  test(`A job that never listens and ends at once by ${how}, with --restart ${mode}: ${code}`, async () => {
    await using rig = await startMaster({ script: 'job.cjs', args: [how], flags: restart(mode), waitReady: false });
    assert.equal((await rig.finished).code, code);
  });
}

test('A job that ends itself by SIGTERM while it starts gives the code that its listener ends with', async () => {
  await using rig = await startMaster({ script: 'ends-itself.cjs', args: ['5'], flags: restart('never'), waitReady: false });
  assert.equal((await rig.finished).code, 5);
});

for (const [mode, code, reason] of [
  ['never', 0, 'has ended as it should'],
  ['always', exitCodes['start-failed'], 'exited with code 0 without being asked to'],
] as const) {
  test(`A job whose channel is closed long before it ends is judged by how it ends: --restart ${mode}`, async () => {
    await using rig = await startMaster({ script: 'ends-slowly.cjs', flags: restart(mode), waitReady: false });
    const finished = await rig.finished;
    assert.equal(finished.code, code, finished.stderr);
    assert.match(finished.stderr, new RegExp(reason));
  });
}

test('A job that does not listen is up when it has lived for --ready-timeout; on-failure starts it again, until it ends with 0', async () => {
  using folder = temporaryFolder();
  const gate = join(folder.path, 'gate');
  const open = (worker: number) => writeFileSync(`${gate}-${worker}`, '');
  await using rig = await startMaster({ script: 'job.cjs', args: ['3,0', gate], flags: restart('on-failure', '--ready-timeout', '500ms') });
  assert.match((await rig.until('master-ready')).message, /without a listener/);
  rig.forget();
  open(1);
  assert.match((await rig.until('worker-crashed')).message, /exited with code 3/);
  open(2);
  assert.equal((await rig.finished).code, 0);
});

test('A job that computes without a pause is left alone, whatever is asked of it meanwhile', async () => {
  using folder = temporaryFolder();
  const gate = join(folder.path, 'gate');
  const flags = restart('never', '--ready-timeout', '200ms', '--heartbeat-timeout', '300ms');
  await using rig = await startMaster({ script: 'job.cjs', args: ['3', gate, 'busy'], flags });
  await using measure = await startMaster({ script: 'http-echo.cjs', flags: ['--heartbeat-timeout', '2s', '--kill-timeout', '300ms'] });
  process.kill((await measure.pids())[0] as number, 'SIGSTOP');
  await measure.until('worker-ailing'); // a server would have been replaced long since
  assert.equal((await rig.status()).workers[0]?.phase, 'serving');
  writeFileSync(`${gate}-1`, '');
  assert.equal((await rig.finished).code, 3);
  assert.equal(rig.all('worker-spawned').length, 1);
});

test('Of several jobs each comes to its end, whichever is first', async () => {
  using folder = temporaryFolder();
  const gate = join(folder.path, 'gate');
  const open = (number: number) => writeFileSync(`${gate}-${number}`, '');
  await using rig = await startMaster({ script: 'job.cjs', args: ['0,3,0', gate], flags: restart('never', '--workers', '3'), waitReady: false });
  await rig.waitFor(() => rig.stdout.match(/^working/gm)?.length === 3 || undefined, 'the jobs');
  for (const number of [1, 2]) {
    open(number);
    await rig.waitFor(() => rig.all('worker-completed').length === number || undefined, 'the end');
  }
  assert.equal((await rig.pids('starting')).length, 1);
  open(3);
  assert.equal((await rig.finished).code, 3);
  assert.equal(rig.all('worker-spawned').length, 3);
});

test('A server serves on beside a worker that has completed before it was ready', async () => {
  using folder = temporaryFolder();
  const mark = join(folder.path, 'mark');
  await using rig = await startMaster({ script: 'second-worker-crashes.cjs', flags: restart('never', '--workers', '2', '--surge', '1'), env: { MARK: mark } });
  const status = await rig.status();
  assert.equal(status.workers.length, 1);
  assert.equal((await ask(rig.url())).status, 200);
  assert.equal((await rig.stop()).code, 7);
});
