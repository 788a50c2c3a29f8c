import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { lstatSync, mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { type IncomingHttpHeaders, request } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { exitCodes } from '../../src/errors.ts';
import type { ControlLine, Status } from '../../src/protocol/control.ts';
import { ask, childrenOf, cli, fixture, poll, type Rig, root, startMaster, temporaryFolder } from '../helpers/rig.ts';

const socketOf = (rig: Rig) => join(rig.runtimeDir, `${rig.name}.sock`);

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

function send(rig: Rig, method: string, path: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath: socketOf(rig), method, path, agent: false }, async (response) => {
      let text = '';
      for await (const chunk of response.setEncoding('utf8')) text += chunk;
      resolve({ status: response.statusCode ?? 0, headers: response.headers, text });
    });
    sent.once('error', reject);
    sent.end();
  });
}

async function reload(rig: Rig): Promise<ControlLine[]> {
  const { status, headers, text } = await send(rig, 'POST', '/reload');
  assert.equal(status, 200);
  assert.equal(headers['content-type'], 'application/x-ndjson');
  assert.ok(text.endsWith('\n'));
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as ControlLine);
}

/** Ends a master, its worker and the shell that cleans up after them, so that everything is left as it was. */
async function slay(rig: Rig): Promise<void> {
  const pids = childrenOf(rig.pid);
  for (const pid of pids) process.kill(pid, 'SIGSTOP'); // they must not notice that they are orphans
  rig.signal('SIGKILL');
  for (const pid of pids) process.kill(pid, 'SIGKILL');
  await rig.finished;
  await rig.gone();
}

test('GET /status tells everything there is', async () => {
  await using rig = await startMaster({ script: 'http-echo.cjs', flags: ['--workers', '2'] });
  const { status, headers, text } = await send(rig, 'GET', '/status?x=1');
  assert.deepEqual([status, headers['content-type']], [200, 'application/json']);
  const seen = JSON.parse(text) as Status;
  assert.deepEqual([seen.name, seen.pid, seen.phase, seen.generation, seen.workersWanted, seen.restarts], ['rig', rig.pid, 'running', 1, 2, 0]);
  assert.deepEqual(
    seen.workers.map(({ id, generation, phase, connections, deadlineInMs }) => ({ id, generation, phase, connections, deadlineInMs })),
    [1, 2].map((id) => ({ id, generation: 1, phase: 'serving', connections: 0, deadlineInMs: null })),
  );
  assert.deepEqual(
    seen.listeners.map(({ address }) => address),
    rig.addresses(),
  );
  assert.equal(seen.lastReload?.outcome, 'committed');
});

test('POST /reload streams what happens and ends with the outcome; POST /stop ends with the exit code', async () => {
  await using rig = await startMaster({ script: 'http-echo.cjs' });
  const lines = await reload(rig);
  const names = lines.map((line) => (line.type === 'event' ? line.event : line.type));
  assert.equal(names[0], 'reload-started');
  for (const name of ['worker-spawned', 'worker-ready', 'worker-serving', 'reload-committed', 'reload-finished']) assert.ok(names.includes(name), name);
  assert.deepEqual(names.filter((name) => name === 'outcome').length, 1);
  const last = lines.at(-1);
  assert.ok(last?.type === 'outcome' && last.isDone && last.generation === 2);
  assert.match(last.text, /^reloaded: generation 2 serves in place of 1 after /);
  const stopped = (await send(rig, 'POST', '/stop')).text.trimEnd().split('\n');
  assert.deepEqual(JSON.parse(stopped.at(-1) as string), { type: 'stopped', exitCode: 0 });
  assert.equal((await rig.finished).code, 0);
});

test('A wrong path is 404, a wrong method 405, garbage harms nobody', async () => {
  await using rig = await startMaster({ script: 'http-echo.cjs' });
  const wrong = await send(rig, 'GET', '/nope');
  assert.equal(wrong.status, 404);
  assert.match(wrong.text, /no such path: \/nope; there are \/status, \/reload, \/promote, \/rollback, \/scale, \/stop/);
  for (const path of ['//', '//x:y', '/status/', '/%']) assert.equal((await send(rig, 'GET', path)).status, 404, path);
  for (const [method, path, allowed] of [
    ['POST', '/status', 'GET'],
    ['GET', '/reload', 'POST'],
    ['GET', '/stop', 'POST'],
    ['DELETE', '/stop', 'POST'],
  ] as const) {
    const { status, headers } = await send(rig, method, path);
    assert.deepEqual([status, headers.allow], [405, allowed], `${method} ${path}`);
  }
  for (const [path, error] of [
    ['/reload?canary=0', 'canary is at least 1'],
    ['/reload?hold=1', 'hold needs canary'],
    ['/reload?canary=1&hold=-1', 'hold is at least 0'],
    ['/reload?to=1', '/reload takes no parameter to'],
    ['/promote?canary=1', '/promote takes no parameter canary'],
    ['/scale', '/scale takes either to or by'],
    ['/scale?to=2&by=1', '/scale takes either to or by'],
    ['/scale?to=0', 'to is at least 1'],
    ['/scale?by=1.5', 'by is a whole number, got 1.5'],
  ] as const) {
    const { status, text } = await send(rig, 'POST', path);
    assert.deepEqual([status, JSON.parse(text)], [400, { error }], path);
  }
  for (const bytes of [
    '\0\xff\xfe garbage\r\n\r\n',
    'GET /status HTTP/1.1\r\n',
    `GET /${'x'.repeat(100_000)} HTTP/1.1\r\n\r\n`,
    'POST /stop HTTP/9.9\r\n\r\n',
  ]) {
    const socket = connect(socketOf(rig));
    socket.on('error', () => {}); // ECONNRESET, EPIPE: it was refused before all was sent
    socket.resume().end(Buffer.from(bytes, 'latin1'));
    await new Promise((resolve) => socket.once('close', resolve));
  }
  assert.equal((await rig.status()).phase, 'running');
  assert.deepEqual(rig.all('reload-started').length, 1, 'nothing was reloaded');
});

test('A reload goes on when whoever asked for it hangs up', async () => {
  await using rig = await startMaster({ script: 'http-echo.cjs' });
  rig.forget();
  const sent = request({ socketPath: socketOf(rig), method: 'POST', path: '/reload', agent: false });
  sent.on('error', () => {}); // it is cut below
  sent.end();
  const [response] = await once(sent, 'response');
  await once(response, 'data');
  sent.destroy();
  assert.equal((await rig.until('reload-finished'))['outcome'], 'committed');
  assert.equal((await rig.status()).generation, 2);
});

test('20 reload requests at once: each is answered once, and at most two reloads happen', async () => {
  await using rig = await startMaster({ script: 'http-echo.cjs' });
  rig.forget();
  const answers = await Promise.all(Array.from({ length: 20 }, () => reload(rig)));
  for (const lines of answers) {
    assert.equal(lines.filter(({ type }) => type === 'outcome').length, 1);
    const last = lines.at(-1);
    assert.ok(last?.type === 'outcome' && last.isDone);
  }
  assert.ok(rig.all('reload-started').length <= 2, `${rig.all('reload-started').length} reloads`);
});

test('Only its owner may speak to the control socket', async () => {
  using folder = temporaryFolder();
  const runtimeDir = join(folder.path, 'run');
  await using rig = await startMaster({ script: 'http-echo.cjs', runtimeDir });
  assert.equal(statSync(runtimeDir).mode & 0o777, 0o700);
  assert.equal(statSync(join(runtimeDir, 'rig.lock')).mode & 0o777, 0o700);
  assert.equal(statSync(socketOf(rig)).mode & 0o777, 0o600);
});

test('reload, status and stop find the only master, or the named one', async () => {
  using folder = temporaryFolder();
  const runtimeDir = folder.path;
  await using one = await startMaster({ script: 'http-echo.cjs', name: 'one', runtimeDir });
  const reloaded = await one.command('reload');
  assert.equal(reloaded.code, 0, reloaded.stderr);
  assert.match(reloaded.stdout, /^reload to generation 2 begins \(control\)\n[\s\S]*\nreloaded: generation 2 serves in place of 1 after .*\n$/);
  assert.equal(reloaded.stderr, '');
  await using two = await startMaster({ script: 'http-echo.cjs', name: 'two', runtimeDir });
  assert.equal((await one.command('reload', 'two')).code, 0);
  assert.equal((await cli(['reload'], { GRACEFUL_SUPER_NAME: 'two', GRACEFUL_SUPER_RUNTIME_DIR: runtimeDir })).code, 0);
  assert.deepEqual([(await one.status()).generation, (await two.status()).generation], [2, 3]);
  const list = (await one.command('status')).stdout.trimEnd().split('\n');
  assert.match(list[0] as string, /^NAME +PID +GENERATION +WORKERS +UPTIME +LISTENING$/);
  assert.match(list[1] as string, new RegExp(`^one +${one.pid} +2 +1/1 +.* 127\\.0\\.0\\.1:${one.port()}$`));
  assert.match(list[2] as string, new RegExp(`^two +${two.pid} +3 +1/1 +.* 127\\.0\\.0\\.1:${two.port()}$`));
  const both = JSON.parse((await one.command('status', '--json')).stdout) as Status[];
  assert.deepEqual(
    both.map(({ name }) => name),
    ['one', 'two'],
  );
  const stopped = await one.command('stop', '--name', 'two');
  assert.deepEqual([stopped.code, stopped.stderr], [0, '']);
  assert.match(stopped.stdout, /\nstopped: two\n$/);
  assert.equal((await two.finished).code, 0);
  assert.equal((JSON.parse((await one.command('status', '--json')).stdout) as Status).name, 'one');
});

test('After stop the name is free at once', async () => {
  using folder = temporaryFolder();
  for (let round = 0; round < 3; round++) {
    await using rig = await startMaster({ script: 'http-echo.cjs', runtimeDir: folder.path });
    assert.equal((await rig.command('stop')).code, 0);
    assert.deepEqual(readdirSync(folder.path), []);
  }
});

test('status in words: generations, workers, open connections, the deadline of a drain, the last reload', async () => {
  await using rig = await startMaster({ script: 'http-echo.cjs' });
  const slow = ask(`${rig.url()}/?wait=3000`);
  await ask(`${rig.url()}/`); // the slow one, sent before, has been accepted
  await rig.hup();
  const [[oldPid], [newPid]] = [await rig.pids('draining'), await rig.pids()];
  const { stdout } = await rig.command('status');
  assert.match(stdout, new RegExp(`^master +rig, pid ${rig.pid}, running for .* \\(graceful-super \\d+\\.\\d+\\.\\d+, Node v\\d+`));
  assert.match(stdout, /^script +\/.*http-echo\.cjs$/m);
  assert.match(stdout, new RegExp(`^listening +127\\.0\\.0\\.1:${rig.port()}$`, 'm'));
  assert.match(stdout, /^generation +2, 0 restarts$/m);
  assert.match(stdout, /^last reload +.* ago: reloaded: generation 2 serves in place of 1 after /m);
  assert.match(stdout, /^WORKER +PID +GENERATION +PHASE +UPTIME +CONNECTIONS +MEMORY +DEADLINE$/m);
  assert.match(stdout, new RegExp(`^1 +${oldPid} +1 +draining +\\S+ \\S+ +1 +\\d+ MiB +in \\S+ s$`, 'm'));
  assert.match(stdout, new RegExp(`^2 +${newPid} +2 +serving +\\S+ \\S+ +0 +\\d+ MiB +-$`, 'm'));
  await slow;
});

test('status tells of restarts and of a reload that failed', async () => {
  using folder = temporaryFolder();
  const script = join(folder.path, 'app.cjs');
  writeFileSync(script, readFileSync(fixture('http-echo.cjs')));
  await using rig = await startMaster({ script });
  const [pid] = await rig.pids();
  rig.forget();
  process.kill(pid as number, 'SIGKILL');
  await rig.until('worker-serving');
  writeFileSync(script, 'throw new RangeError("too far")');
  assert.equal((await rig.command('reload')).code, exitCodes['reload-failed']);
  const { stdout } = await rig.command('status');
  assert.match(stdout, /^generation +1, 1 restart$/m);
  assert.match(
    stdout,
    /^last reload +.* ago: reload failed, rolled back: worker 3 .*exited with code 1: RangeError: too far; generation 1 goes on \(1 worker serving\)$/m,
  );
});

test('A master that does not answer is told so', async () => {
  await using rig = await startMaster({ script: 'http-echo.cjs' });
  rig.signal('SIGSTOP');
  try {
    const { code, stderr } = await rig.command('status');
    assert.equal(code, exitCodes['control-failed']);
    assert.match(stderr, /cannot speak to master "rig" .*: it does not answer\nhint: /);
  } finally {
    rig.signal('SIGCONT');
  }
});

test('A second master of the same name is refused, and the first notices nothing', async () => {
  await using rig = await startMaster({ script: 'http-echo.cjs' });
  const before = readdirSync(rig.runtimeDir).sort();
  const second = await cli(['start', fixture('http-echo.cjs'), '--name', 'rig', '--runtime-dir', rig.runtimeDir]);
  assert.equal(second.code, exitCodes['already-running']);
  assert.deepEqual(readdirSync(rig.runtimeDir).sort(), before);
  assert.equal((await rig.status()).pid, rig.pid);
});

test('What a killed master left is replaced; of six that start at once exactly one wins', async () => {
  using folder = temporaryFolder();
  const runtimeDir = folder.path;
  for (const contenders of [1, 6]) {
    const dead = await startMaster({ script: 'http-echo.cjs', runtimeDir });
    await slay(dead);
    assert.ok(lstatSync(socketOf(dead)).isSymbolicLink(), 'the dead one left its socket');
    assert.equal((await dead.command('status')).code, exitCodes['not-running']);
    const rigs = await Promise.all(Array.from({ length: contenders }, () => startMaster({ script: 'http-echo.cjs', runtimeDir, waitReady: false })));
    const isRefused = await Promise.all(
      rigs.map((rig) =>
        Promise.race([rig.until('master-ready').then(() => false), rig.finished.then(({ code }) => code === exitCodes['already-running'])]).catch(() => true),
      ),
    );
    const winners = rigs.filter((_, index) => !isRefused[index]);
    assert.equal(winners.length, 1);
    assert.equal((await (winners[0] as Rig).status()).pid, winners[0]?.pid);
    for (const rig of rigs) await rig[Symbol.asyncDispose]();
    for (const rig of rigs) assert.equal((await rig.finished).code, winners.includes(rig) ? 0 : exitCodes['already-running']);
    assert.deepEqual(readdirSync(runtimeDir), []);
  }
});

test('Without --name the script gives its name', async () => {
  using folder = temporaryFolder();
  const env = { ...process.env, GRACEFUL_SUPER_RUNTIME_DIR: folder.path };
  const master = spawn(process.execPath, ['bin/graceful-super.js', 'start', fixture('http-echo.cjs')], { cwd: root, env, stdio: ['ignore', 'ignore', 'pipe'] });
  const ended = once(master, 'close');
  for await (const line of createInterface({ input: master.stderr })) if (line.includes('"master-ready"')) break;
  master.stderr.resume();
  assert.match((await cli(['status'], env)).stdout, new RegExp(`^master +http-echo, pid ${master.pid},`));
  assert.equal((await cli(['stop', 'http-echo'], env)).code, 0);
  assert.deepEqual(await ended, [0, null]);
});

test('The pid file is there while the master serves, and removed only while it is ours', async () => {
  using folder = temporaryFolder();
  const pidFile = join(folder.path, 'rig.pid');
  writeFileSync(pidFile, 'stale');
  const flags = ['--pid-file', pidFile];
  {
    await using rig = await startMaster({ script: 'http-echo.cjs', flags });
    await poll(
      () => readFileSync(pidFile, 'utf8') === `${rig.pid}\n`,
      () => readFileSync(pidFile, 'utf8'),
    );
    assert.equal((await rig.hup())['outcome'], 'committed');
    assert.equal(readFileSync(pidFile, 'utf8'), `${rig.pid}\n`);
  }
  assert.deepEqual(readdirSync(folder.path), []);
  await using rig = await startMaster({ script: 'http-echo.cjs', flags });
  await poll(
    () => readdirSync(folder.path).includes('rig.pid'),
    () => 'no pid file',
  );
  writeFileSync(`${pidFile}.new`, '1\n');
  renameSync(`${pidFile}.new`, pidFile);
  await rig.stop();
  assert.equal(readFileSync(pidFile, 'utf8'), '1\n');
});

test('Commands work from a folder that was removed', async () => {
  using folder = temporaryFolder();
  await using rig = await startMaster({ script: 'http-echo.cjs' });
  const gone = join(folder.path, 'gone');
  mkdirSync(gone);
  const shell = `cd ${gone} && rmdir ${gone} && exec ${process.execPath} ${join(root, 'bin/graceful-super.js')} status --runtime-dir ${rig.runtimeDir}`;
  const { status, stdout, stderr } = spawnSync('sh', ['-c', shell], { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  assert.match(stdout, /serving/);
});

test('A master that does not answer hides no other', async () => {
  using folder = temporaryFolder();
  await using frozen = await startMaster({ script: 'http-echo.cjs', name: 'frozen', runtimeDir: folder.path });
  await using lively = await startMaster({ script: 'http-echo.cjs', name: 'lively', runtimeDir: folder.path });
  frozen.signal('SIGSTOP');
  const { code, stdout } = await lively.command('status');
  frozen.signal('SIGCONT');
  assert.equal(code, 0);
  assert.match(stdout, /frozen .*does not answer/);
  assert.match(stdout, /lively +\d+/);
});
