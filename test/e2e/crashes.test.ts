import assert from 'node:assert/strict';
import { readdirSync, renameSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { exitCodes } from '../../src/errors.ts';
import type { Status } from '../../src/protocol/control.ts';
import { ask, fixture, startMaster, temporaryFolder } from '../helpers/rig.ts';

test('A worker that crashes is replaced at once the first time, then with a growing delay, and a crash loop is named', async () => {
  await using rig = await startMaster({ script: 'crashes-on-request.cjs', flags: ['--backoff-min', '10ms', '--backoff-max', '40ms', '--restart-limit', '3'] });
  for (let crash = 1; crash <= 4; crash++) {
    rig.forget();
    await assert.rejects(ask(`${rig.url()}/crash`));
    const { message } = await rig.until('worker-crashed');
    assert.match(message, /exited with code 1: Error: asked to crash/);
    await rig.until('worker-serving');
    assert.equal(rig.all('restart-scheduled').length, crash === 1 ? 0 : 1);
    assert.equal(rig.all('crash-loop').length, crash === 4 ? 1 : 0);
  }
  const { restarts, isCrashLooping } = await rig.status();
  assert.equal(restarts, 4);
  assert.equal(isCrashLooping, true);
  assert.match((await rig.command('status')).stdout, /^crash loop {2}/m);
  assert.equal((JSON.parse((await rig.command('status', '--json')).stdout) as Status).isCrashLooping, true);
  const [named] = rig.all('crash-loop');
  assert.deepEqual([named?.level, named?.['crashes']], ['error', 4]);
});

test('A reload in a crash loop starts at once, and ends it', async () => {
  using folder = temporaryFolder();
  const script = join(folder.path, 'current.cjs');
  const deploy = (file: string) => {
    symlinkSync(fixture(file), `${script}.draft`);
    renameSync(`${script}.draft`, script);
  };
  deploy('crashes-on-request.cjs');
  await using rig = await startMaster({ script, flags: ['--backoff-min', '24h', '--backoff-max', '24h'] });
  for (let crash = 1; crash <= 2; crash++) {
    if (crash === 2) rig.forget();
    await assert.rejects(ask(`${rig.url()}/crash`));
    if (crash === 1) await rig.until('worker-serving', ({ worker }) => worker === 2);
  }
  await rig.until('restart-scheduled');
  assert.deepEqual(await rig.pids(), []);
  deploy('http-echo.cjs');
  const waiting = ask(rig.url()); // the listener is held meanwhile
  assert.equal((await rig.command('reload')).code, 0);
  assert.equal((await waiting).status, 200);
  assert.equal((await rig.status()).nextRestartInMs, null);
});

test('A failed reload in a crash loop leaves the loop as it was', async () => {
  using folder = temporaryFolder();
  const script = join(folder.path, 'current.cjs');
  symlinkSync(fixture('crashes-on-request.cjs'), script);
  await using rig = await startMaster({ script });
  renameSync(script, `${script}.away`);
  const { outcome, message } = await rig.hup();
  assert.equal(outcome, 'rolled-back');
  assert.match(message, /no such file/);
  const [pid] = await rig.pids();
  rig.forget();
  process.kill(pid as number, 'SIGKILL');
  await rig.until('worker-serving');
  assert.equal((await ask(rig.url())).status, 200);
});

for (const [file, flags, code, why] of [
  ['throws-at-start.cjs', [], 40, /start failed: worker 1 \(pid \d+\) exited with code 1: Error: no database/],
  ['exits-before-ready.cjs', [], 40, /exited with code 0 without being asked to/],
  ['never-ready.cjs', ['--ready-timeout', '500ms'], 40, /was not ready within 500 ms/],
] as const) {
  test(`A first start that never becomes ready ends the master with a code and the reason: ${file}`, async () => {
    await using rig = await startMaster({ script: file, flags, waitReady: false });
    const result = await rig.finished;
    assert.equal(result.code, code);
    assert.match(rig.events.find(({ event }) => event === 'reload-finished')?.message ?? '', why);
  });
}

test('--give-up-after: a crash loop that lasts so long ends the master with a code of its own, and says why', async () => {
  const flags = ['--backoff-min', '10ms', '--backoff-max', '20ms', '--restart-limit', '2', '--give-up-after', '300ms'];
  await using rig = await startMaster({
    script: 'crashes-on-request.cjs',
    flags: [...flags, '--node-arg', '--require', '--node-arg', fixture('dies-young.cjs')],
  });
  rig.forget();
  const { code } = await rig.finished;
  assert.equal(code, exitCodes['crash-loop']);
  assert.match((await rig.until('crash-loop')).message, /^crash loop: generation 1 has lost 3 workers in a row; a reload with mended code starts at once$/);
  assert.match((await rig.until('gave-up')).message, /^giving up: generation 1 has been in a crash loop for .* \(--give-up-after\)$/);
  assert.deepEqual(readdirSync(rig.runtimeDir), []);
});

test('A worker that writes a line without an end into its channel loses the channel, and is replaced', async () => {
  await using rig = await startMaster({ script: 'never-ends-its-line.cjs' });
  rig.forget();
  const pid = (await ask(`${rig.url()}/flood`)).text;
  assert.match((await rig.until('worker-note')).message, /a message without an end: its channel is closed/);
  await rig.until('worker-serving');
  await rig.until('worker-stopped');
  assert.notEqual((await ask(rig.url())).text, pid);
});
