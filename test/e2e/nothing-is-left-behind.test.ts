import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import { ask, descriptors, poll, type Rig, residentMemory, smallHeap, startMaster, temporaryFolder } from '../helpers/rig.ts';

const hasLimits = spawnSync('prlimit', ['--version']).status === 0;

test('Nothing is left behind: kill -9 of a worker that is starting', async () => {
  using folder = temporaryFolder();
  await using rig = await startMaster({ script: 'waits-for-file.cjs', env: { GATE: join(folder.path, 'gate') }, waitReady: false });
  const { pid } = await rig.until('worker-spawned');
  process.kill(pid as number, 'SIGKILL');
  const { code } = await rig.finished;
  assert.equal(code, 40);
  assert.match(rig.stderr, /was killed by SIGKILL/);
});

test('Nothing is left behind: kill -9 of a worker that serves, and of one that drains', async () => {
  await using rig = await startMaster({ script: 'http-echo.cjs' });
  const [first] = await rig.pids();
  rig.forget();
  process.kill(first as number, 'SIGKILL');
  await rig.until('worker-serving');
  const [second] = await rig.pids();
  const slow = ask(`${rig.url()}/?wait=60000`).catch((error: NodeJS.ErrnoException) => error.code);
  await rig.hup();
  assert.deepEqual(await rig.pids('draining'), [second]);
  process.kill(second as number, 'SIGKILL');
  assert.equal(await slow, 'ECONNRESET', 'only what the killed process owned is lost');
  await rig.until('worker-stopped', ({ pid }) => pid === second);
  assert.equal((await rig.pids()).length, 1);
});

test('Nothing is left behind: kill -9 of the master; what is being served is finished, and the port is free for the next', async () => {
  using folder = temporaryFolder();
  const pidFile = join(folder.path, 'master.pid');
  const socket = join(folder.path, 'app.sock');
  const flags = ['--pid-file', pidFile, '--listen', `unix:${socket}`, '--workers', '2'];
  await using rig = await startMaster({ script: 'http-echo.cjs', flags });
  assert.ok(existsSync(pidFile) && existsSync(socket));
  const port = rig
    .addresses()
    .find((address) => address.startsWith('127.'))
    ?.split(':')[1];
  const slow = ask(`http://127.0.0.1:${port}/?wait=700`);
  await ask(`http://127.0.0.1:${port}/`);
  rig.signal('SIGKILL');
  assert.equal((await slow).status, 200);
  await rig.gone();
  assert.deepEqual(readdirSync(rig.runtimeDir), []);
  assert.deepEqual(readdirSync(folder.path), [], 'neither the pid file nor the socket is left');
  await using next = await startMaster({ script: 'http-echo.cjs', env: { PORT: String(port) } });
  assert.equal((await ask(next.url())).status, 200);
});

test('Nothing is left behind: kill -9 of the master while its first worker is still starting', async () => {
  using folder = temporaryFolder();
  await using rig = await startMaster({ script: 'waits-for-file.cjs', env: { GATE: join(folder.path, 'gate') }, waitReady: false });
  await rig.waitFor(() => (rig.stdout.includes('waiting') ? true : undefined), 'the worker');
  rig.signal('SIGKILL');
  await rig.gone();
});

test('Nothing is left behind: kill -9 of the master while the process of its first worker waits to be one; no line of the program has run', async () => {
  for (let caught = 0; caught < 3; caught++) {
    await using rig = (await catchWaiting()).rig;
    rig.signal('SIGKILL');
    const { stdout, stderr } = await rig.finished;
    await rig.gone();
    assert.deepEqual([stdout, stderr], ['', '']);
  }
});

test('A signal that meets the process of the first worker while it waits to be one does not disturb it', async () => {
  const { rig: caught, child } = await catchWaiting();
  await using rig = caught;
  process.kill(child, 'SIGUSR1'); // Node begins to listen for a debugger
  await poll(
    () => rig.stderr.includes('Debugger listening') || isReadingIdentity(child),
    () => 'the process neither waits nor listens for a debugger',
  );
  rig.signal('SIGCONT');
  await rig.until('master-ready');
  assert.deepEqual(await rig.pids(), [child]);
});

test('Nothing is left behind: kill -9 of the master the moment it has started a worker', async () => {
  await using rig = await startMaster({ script: 'http-echo.cjs', waitReady: false });
  await rig.until('worker-spawned');
  rig.signal('SIGKILL');
  await rig.gone();
});

test('Nothing is left behind: 200 reloads, and neither descriptors nor listeners nor memory of the master grow', async () => {
  await using rig = await startMaster({ script: 'http-echo.cjs', nodeFlags: smallHeap });
  const reloads = async (count: number) => {
    for (let index = 0; index < count; index++) assert.equal(await reload(rig), true);
    await poll(
      async () => (await rig.status()).workers.length === 1,
      () => 'old generations are still there',
    );
  };
  await reloads(20);
  const [descriptorsBefore, memoryBefore] = [descriptors(rig.pid), residentMemory(rig.pid)];
  await reloads(180);
  const { generation, listeners } = await rig.status();
  assert.equal(generation, 201);
  assert.equal(listeners.length, 1);
  await poll(
    () => descriptors(rig.pid).length <= descriptorsBefore.length,
    () => `descriptors: ${descriptorsBefore} → ${descriptors(rig.pid)}`,
  );
  const grown = residentMemory(rig.pid) - memoryBefore;
  assert.ok(grown < 16 * 1024 * 1024, `the master grew by ${grown} bytes in 180 reloads`);
  assert.equal(rig.processes().length, 2, 'the master and one worker');
});

test('Nothing is left behind: a pid file that a full disk has no room for; the services start all the same', async (t) => {
  using folder = temporaryFolder();
  const disk = join(folder.path, 'disk');
  mkdirSync(disk);
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=4k', 'tmpfs', disk]).status !== 0) return t.skip('no right to mount a small disk');
  try {
    writeFileSync(join(disk, 'filler'), Buffer.alloc(4_096));
    await using rig = await startMaster({ script: 'http-echo.cjs', flags: ['--pid-file', join(disk, 'master.pid')] });
    assert.match((await rig.until('pid-file-failed')).message, /^cannot write pid file .*\/master\.pid: ENOSPC/);
    assert.equal((await ask(rig.url())).status, 200);
    assert.deepEqual(readdirSync(disk), ['filler']);
  } finally {
    spawnSync('umount', [disk]);
  }
});

test('Nothing is left behind: reloads that fail for want of descriptors leak none', hasLimits ? {} : { skip: 'needs prlimit(1) of util-linux' }, async () => {
  await using rig = await startMaster({ script: 'http-echo.cjs' });
  const limit = (soft: string) => execFileSync('prlimit', ['--pid', String(rig.pid), `--nofile=${soft}:`]);
  await rig.hup();
  await rig.until('generation-gone');
  const before = descriptors(rig.pid);
  for (let spare = 0; spare < 24; spare++) {
    limit(String(limitThatSpares(rig.pid, spare)));
    const { outcome } = await rig.hup();
    if (outcome === 'committed') await rig.until('generation-gone');
    else assert.match(rig.all('reload-finished')[0]?.message ?? '', /EMFILE/);
  }
  limit('1024');
  assert.equal((await rig.hup()).outcome, 'committed');
  await rig.until('generation-gone');
  await poll(
    () => descriptors(rig.pid).length <= before.length,
    () => `descriptors: ${before} → ${descriptors(rig.pid)}`,
  );
});

/** The limit under which a process can open so many descriptors more. */
function limitThatSpares(pid: number, spare: number): number {
  const open = new Set(readdirSync(`/proc/${pid}/fd`).map(Number));
  let limit = 0;
  for (let free = 0; free < spare || open.has(limit); limit++) if (!open.has(limit)) free++;
  return limit;
}

/** Reloads over the control socket. */
function reload(rig: Rig): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath: join(rig.runtimeDir, `${rig.name}.sock`), method: 'POST', path: '/reload', agent: false }, async (response) => {
      let text = '';
      for await (const chunk of response) text += chunk;
      resolve((JSON.parse(text.trim().split('\n').at(-1) ?? '') as { isDone: boolean }).isDone);
    });
    sent.once('error', reject);
    sent.end();
  });
}

/** A master that is stopped before it has its name; the process of its first worker waits to be told that it is one. */
async function catchWaiting(): Promise<{ readonly rig: Rig; readonly child: number }> {
  for (let tries = 0; tries < 50; tries++) {
    const rig = await startMaster({ script: 'tells-first.cjs', flags: ['--node-arg=--inspect-port=0'], waitReady: false });
    const child = await firstChildOf(rig.pid);
    rig.signal('SIGSTOP');
    await poll(
      () => rig.stdout !== '' || isReadingIdentity(child),
      () => 'the process neither waits nor runs the program',
    ).catch(async (error) => {
      await rig.kill();
      throw error;
    });
    if (rig.stdout === '' && readdirSync(rig.runtimeDir).length === 0) return { rig, child };
    rig.signal('SIGKILL');
    await rig.gone();
    rmSync(rig.runtimeDir, { recursive: true }); // what a master made before it had a worker, its next one replaces
  }
  throw new Error('the master is never stopped in time');
}

async function firstChildOf(pid: number): Promise<number> {
  for (;;) {
    const [child] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
    if (child) return Number(child);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** It is in read(2) of the descriptor on which a worker is told who it is. */
function isReadingIdentity(pid: number): boolean {
  return /^\d+ 0x5 /.test(readFileSync(`/proc/${pid}/syscall`, 'utf8'));
}
