import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { exitCodes } from '../../src/errors.ts';
import { fixture, type Rig, startMaster, temporaryFolder } from '../helpers/rig.ts';
import { startStorm, stormsOn } from '../helpers/storm.ts';

const KEPT = 30;

async function scaled(rig: Rig, change: string, workers: number): Promise<void> {
  const { code, stdout, stderr } = await rig.command('scale', change);
  assert.equal(code, 0, stderr);
  assert.match(stdout, new RegExp(`\\nscaled: ${workers} workers? serving\\n$`));
  const status = await rig.status();
  assert.equal(status.workersWanted, workers);
  assert.equal(status.workers.filter(({ phase }) => phase === 'serving').length, workers);
}

test('Scaling up and down under load: no request fails, nobody reconnects, connections go on in the siblings', async () => {
  await using rig = await startMaster({ script: 'http-echo.cjs', env: { KEEP_ALIVE: '60000' } });
  const port = rig.port();
  const old = startStorm({ port, keepAlive: KEPT, fresh: 0 });
  const fresh = startStorm({ port, keepAlive: 0, fresh: 4 });
  await old.answered(KEPT);
  await scaled(rig, '4', 4);
  const young = await stormsOn(port, KEPT, (byPid) => byPid.size > 1);
  await scaled(rig, '+1', 5);
  rig.forget();
  await scaled(rig, '-3', 2);
  await scaled(rig, '1', 1);
  const gone = await rig.waitFor(() => (rig.all('worker-drained').length === 4 ? rig.all('worker-drained') : undefined), 'four that drain');
  assert.ok(
    gone.some(({ moved }) => ((moved as Record<string, number>)['http'] ?? 0) > 0),
    'they had connections, and handed them over',
  );
  for (const storm of [old, ...young]) {
    await storm.answered(KEPT);
    const { failures, opened, resets } = await storm.stop();
    assert.deepEqual({ failures, opened, resets }, { failures: [], opened: KEPT, resets: 0 });
  }
  assert.deepEqual((await fresh.stop()).failures, []);
});

test('TTIN starts one worker more, TTOU ends one; the last one stays', async () => {
  await using rig = await startMaster({ script: 'http-echo.cjs' });
  const [first] = await rig.pids();
  for (const [signal, workers] of [
    ['SIGTTIN', 2],
    ['SIGTTIN', 3],
    ['SIGTTOU', 2],
    ['SIGTTOU', 1],
    ['SIGTTOU', 1],
  ] as const) {
    rig.forget();
    rig.signal(signal);
    assert.equal((await rig.until('scale-finished'))['workers'], workers);
    assert.equal((await rig.pids()).length, workers);
  }
  assert.deepEqual(await rig.pids(), [first], 'the youngest ones went');
});

test('The number that was asked for holds for reloads, until another one is configured', async () => {
  using folder = temporaryFolder();
  const config = join(folder.path, 'config.json');
  const configure = (workers: number) => writeFileSync(config, JSON.stringify({ script: fixture('http-echo.cjs'), workers }));
  configure(1);
  await using rig = await startMaster({ script: 'http-echo.cjs', flags: ['--config', config] });
  const reloaded = async () => {
    assert.equal((await rig.hup())['outcome'], 'committed');
    return (await rig.pids()).length;
  };
  await scaled(rig, '3', 3);
  assert.equal(await reloaded(), 3, 'asked for');
  configure(2);
  assert.equal(await reloaded(), 2, 'configured');
  await scaled(rig, '+2', 4);
  assert.equal(await reloaded(), 4, 'asked for since');
  configure(1);
  assert.equal(await reloaded(), 1, 'configured anew');
});

test('A number that makes no sense is refused; one that can’t be reached is told as such', async () => {
  await using rig = await startMaster({ script: 'http-echo.cjs', flags: ['--backoff-min', '1ms', '--backoff-max', '1ms', '--restart-limit', '1'] });
  for (const number of ['0', '1025', 'x', '1.5', '99999']) assert.equal((await rig.command('scale', number)).code, exitCodes.usage, number);
  assert.equal((await rig.status()).workersWanted, 1);
});
