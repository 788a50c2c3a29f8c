import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { exitCodes } from '../../src/errors.ts';
import { ask, fixture, poll, type Rig, root, startMaster, temporaryFolder } from '../helpers/rig.ts';

const HUP = 1n;
const TERM = 15n;

const pidIn = async (answer: Promise<{ text: string }>) => (JSON.parse((await answer).text) as { pid: number }).pid;

/** A request that is being served when this resolves, and ends only later. */
async function slowRequest(rig: Rig, waitMs = 1500): Promise<{ readonly answered: Promise<number> }> {
  const answered = pidIn(ask(`${rig.url()}/?wait=${waitMs}`));
  answered.catch(() => {}); // some tests cut it
  await poll(
    async () => (await rig.status()).workers.some(({ connections }) => connections === 1),
    () => 'the slow request does not arrive',
  );
  return { answered };
}

/** True once the kernel delivers the signal to a handler of the process. */
function isCaught(pid: number, signal: bigint): boolean {
  const mask = /^SigCgt:\s+([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return ((BigInt(`0x${mask}`) >> (signal - 1n)) & 1n) === 1n;
}

/** A master of which nothing is known but its pid. */
function spawnMaster(runtimeDir: string): ChildProcess {
  const args = ['bin/graceful-super.js', 'start', fixture('http-echo.cjs'), '--name', 'early', '--runtime-dir', runtimeDir, '--log-format', 'json'];
  const master = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'ignore', 'pipe'] });
  master.stderr?.setEncoding('utf8');
  return master;
}

/** Complete lines of a file that is being written. */
function linesOf(path: string): string[] {
  return readFileSync(path, 'utf8').split('\n').slice(0, -1);
}

/** Looks as often as it can, and so meets moments that nobody announces. */
async function spin(master: ChildProcess, isSo: () => boolean): Promise<void> {
  while (!isSo()) {
    assert.equal(master.exitCode ?? master.signalCode, null, 'the master has ended');
    await new Promise(setImmediate);
  }
}

test('From the moment that the first signal is caught, none kills the master: TERM stops it, HUP is kept', async () => {
  using folder = temporaryFolder();
  for (const signal of ['SIGHUP', 'SIGTERM', 'SIGINT', 'SIGUSR1', 'SIGUSR2'] as const) {
    const master = spawnMaster(folder.path);
    const pid = master.pid as number;
    let log = '';
    master.stderr?.on('data', (text: string) => {
      log += text;
    });
    await spin(master, () => isCaught(pid, HUP) && isCaught(pid, TERM) && isCaught(pid, 12n));
    assert.equal(log, '', 'nothing of the master has run yet');
    master.kill(signal);
    if (signal !== 'SIGTERM' && signal !== 'SIGINT') {
      await spin(
        master,
        () => log.includes('"master-ready"') && (signal !== 'SIGHUP' || log.includes('"generation 2 serves') || log.includes('reloaded: generation 2')),
      );
      master.kill('SIGTERM');
    }
    assert.deepEqual(await once(master, 'close'), [0, null], `${signal}\n${log}`);
    assert.deepEqual(readdirSync(folder.path), []);
  }
});

test('TERM and HUP at any moment of the start end in order', async () => {
  using folder = temporaryFolder();
  for (let moment = 0; moment < 16; moment++) {
    const master = spawnMaster(folder.path);
    const pid = master.pid as number;
    let log = '';
    master.stderr?.on('data', (text: string) => {
      log += text;
    });
    await spin(master, () => isCaught(pid, HUP) && isCaught(pid, TERM));
    for (let turn = 0; turn < moment ** 3; turn++) await new Promise(setImmediate);
    master.kill('SIGHUP');
    master.kill('SIGTERM');
    assert.deepEqual(await once(master, 'close'), [0, null], `moment ${moment}\n${log}`);
    assert.deepEqual(readdirSync(folder.path), [], log);
  }
});

test('HUP before the first worker is ready: the reload follows the start', async () => {
  using folder = temporaryFolder();
  const gate = join(folder.path, 'gate');
  await using rig = await startMaster({ script: 'waits-for-file.cjs', env: { GATE: gate }, waitReady: false });
  await rig.waitFor(() => (rig.stdout.includes('waiting') ? true : undefined), 'the worker');
  rig.signal('SIGHUP');
  await rig.until('reload-queued');
  writeFileSync(gate, '');
  const finished = await rig.until('reload-finished', ({ generation }) => generation === 2);
  assert.equal(finished['outcome'], 'committed');
});

test('Many HUPs during a reload make one more, and no more', async () => {
  await using rig = await startMaster({ script: 'http-echo.cjs' });
  rig.forget();
  rig.signal('SIGHUP');
  rig.signal('SIGHUP');
  await rig.until('reload-started');
  for (let count = 1; count <= 10; count++) {
    rig.signal('SIGHUP');
    await rig.waitFor(() => (rig.all('reload-queued').length >= count ? true : undefined), `${count} queued reloads`);
  }
  await rig.until('reload-finished', ({ generation }) => generation === 3);
  const { generation, reload } = await rig.status();
  assert.deepEqual([generation, reload.phase, rig.all('reload-started').length], [3, 'idle', 2]);
});

test('HUP during a drain reloads; the draining worker finishes its request', async () => {
  await using rig = await startMaster({ script: 'http-echo.cjs' });
  const [oldPid] = await rig.pids();
  const slow = await slowRequest(rig);
  await rig.hup();
  assert.deepEqual(await rig.pids('draining'), [oldPid]);
  assert.equal((await rig.hup())['generation'], 3);
  assert.equal(await slow.answered, oldPid);
});

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`${signal} lets a slow request finish; a HUP meanwhile is ignored`, async () => {
    await using rig = await startMaster({ script: 'http-echo.cjs' });
    const [pid] = await rig.pids();
    const slow = await slowRequest(rig);
    rig.forget();
    rig.signal(signal);
    await rig.until('stopping', ({ by }) => by === signal);
    rig.signal('SIGHUP');
    assert.equal((await rig.until('reload-finished'))['outcome'], 'rolled-back');
    assert.equal(await slow.answered, pid);
    assert.equal((await rig.finished).code, 0);
    assert.deepEqual(rig.all('worker-spawned'), []);
  });
}

test('^C at a terminal reaches the whole group: the worker still finishes its request', async () => {
  await using rig = await startMaster({ script: 'http-echo.cjs' });
  const [pid] = await rig.pids();
  const slow = await slowRequest(rig);
  process.kill(-rig.pid, 'SIGINT');
  assert.equal(await slow.answered, pid);
  assert.deepEqual(await rig.finished.then(({ code, signal }) => [code, signal]), [0, null]);
});

test('A second TERM or INT stops at once', async () => {
  for (const [first, second] of [
    ['SIGTERM', 'SIGTERM'],
    ['SIGINT', 'SIGTERM'],
    ['SIGTERM', 'SIGINT'],
  ] as const) {
    await using rig = await startMaster({ script: 'http-echo.cjs' });
    const slow = await slowRequest(rig, 3_600_000);
    rig.signal(first);
    await rig.until('worker-draining');
    rig.signal(second);
    assert.equal((await rig.finished).code, exitCodes.forced);
    await assert.rejects(slow.answered);
    assert.equal(rig.all('stopping-at-once').length, 1);
  }
});

test('TERM during the first start ends it, and no worker survives', async () => {
  await using rig = await startMaster({ script: 'never-ready.cjs', waitReady: false });
  await rig.until('worker-spawned');
  rig.signal('SIGTERM');
  const { code } = await rig.finished;
  assert.equal(code, 0);
  assert.match((await rig.until('reload-finished')).message, /^start abandoned: the master is stopping/);
});

test('TERM wins over a reload in every phase of it', async () => {
  for (const phase of ['reload-started', 'worker-spawned', 'worker-ready', 'reload-probation', 'reload-committed']) {
    await using rig = await startMaster({ script: 'http-echo.cjs', flags: phase === 'reload-probation' ? ['--probation', '1h'] : [] });
    const slow = await slowRequest(rig, 300);
    rig.forget();
    rig.signal('SIGHUP');
    await rig.until(phase);
    rig.signal('SIGTERM');
    const { code } = await rig.finished;
    assert.equal(code, 0, phase);
    assert.ok(await slow.answered, phase);
    assert.equal(rig.all('reload-finished').length, 1, phase);
    await rig.gone();
  }
});

test('USR1 opens the log file anew after a rename: the old one gets no more lines, and none is lost', async () => {
  using folder = temporaryFolder();
  const logFile = join(folder.path, 'log');
  const eventsIn = (path: string) => (existsSync(path) ? linesOf(path) : []).map((line) => JSON.parse(line) as { event: string });
  const rig = await startMaster({
    script: 'talks-nonsense.cjs',
    flags: ['--log-file', logFile],
    waitReady: false,
  });
  try {
    const seen = (path: string, event: string) =>
      poll(
        () => eventsIn(path).some((line) => line.event === event),
        () => `no ${event} in ${path}\n${rig.stderr}`,
      );
    await seen(logFile, 'master-ready');
    assert.equal(rig.stderr, '');
    const before = eventsIn(logFile).length;
    renameSync(logFile, `${logFile}.1`);
    rig.signal('SIGUSR1');
    await seen(logFile, 'log-reopened');
    rig.signal('SIGHUP');
    await seen(logFile, 'reload-committed');
    assert.ok(eventsIn(`${logFile}.1`).length >= before);
    assert.ok(!eventsIn(`${logFile}.1`).some(({ event }) => event === 'log-reopened' || event === 'worker-draining'));
    for (let round = 2; round < 12; round++) {
      renameSync(logFile, `${logFile}.${round}`);
      rig.signal('SIGHUP');
      rig.signal('SIGUSR1');
      await poll(
        () => existsSync(logFile) && eventsIn(logFile).length > 0,
        () => 'no new log file',
      );
    }
  } finally {
    await rig[Symbol.asyncDispose]();
  }
  const all = readdirSync(folder.path)
    .filter((name) => name.startsWith('log'))
    .flatMap((name) => eventsIn(join(folder.path, name)));
  const count = (event: string) => all.filter((line) => line.event === event).length;
  assert.equal(count('log-reopened'), 11);
  assert.equal(count('reload-started'), count('reload-finished'));
  assert.equal(count('worker-spawned'), count('worker-stopped'), 'the life of every worker is told from its beginning to its end');
});

test('USR2 has no meaning and is ignored with a line in the log', async () => {
  await using rig = await startMaster({ script: 'http-echo.cjs' });
  rig.signal('SIGUSR2');
  assert.match((await rig.until('signal-ignored')).message, /SIGUSR2/);
  assert.equal((await ask(rig.url())).status, 200);
});
