import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { chmodSync, chownSync, copyFileSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type ErrorCode, exitCodes } from '../../src/errors.ts';
import { needsNobody, runAsNobody } from '../helpers/nobody.ts';
import { ask, cli, fixture, pidsMarked, root, startMaster, temporaryFolder } from '../helpers/rig.ts';

const echo = fixture('http-echo.cjs');

interface Refusal {
  readonly code: ErrorCode;
  readonly says: RegExp;
  readonly hint: RegExp;
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  readonly asNobody?: boolean;
  readonly runtimeDir?: string;
}

/** The command ends with the documented code, one clear message and a hint, and leaves nothing behind. */
async function assertRefused(args: readonly string[], { code, says, hint, env = {}, cwd = root, asNobody = false, runtimeDir }: Refusal): Promise<void> {
  using folder = temporaryFolder();
  chmodSync(folder.path, 0o777);
  const mark = randomUUID();
  const controls = runtimeDir ?? join(folder.path, 'run');
  const all = { ...env, GRACEFUL_SUPER_RUNTIME_DIR: controls, RIG_MARK: mark };
  const { stdout, stderr, ...ended } = asNobody ? runAsNobody(args, all) : await cli(args, all, cwd);
  assert.equal(ended.code, exitCodes[code], stderr);
  assert.equal(stdout, '');
  const [message = '', hinted = '', ...rest] = stderr.split(/\n(?=hint: )/);
  assert.match(message, /^graceful-super: /);
  assert.match(message, says);
  assert.match(hinted, hint);
  assert.deepEqual(rest, []);
  assert.doesNotMatch(stderr, /^ {4}at /m, 'no stack trace');
  if (existsSync(controls) && runtimeDir === undefined) assert.deepEqual(readdirSync(controls), []);
  assert.deepEqual(pidsMarked(mark), []);
}

async function takePort(): Promise<{ port: number; [Symbol.asyncDispose](): Promise<void> }> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return { port, [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())) };
}

function write(folder: { readonly path: string }, name: string, text: string, mode = 0o644): string {
  const path = join(folder.path, name);
  writeFileSync(path, text, { mode });
  return path;
}

test('What is no command line is refused with a hint', async () => {
  const refused = (args: readonly string[], says: RegExp, hint = /graceful-super --help/) => assertRefused(args, { code: 'usage', says, hint });
  await refused([], /no command/);
  await refused(['launch'], /Unknown command: launch/);
  await refused(['start'], /no script to start/, /graceful-super start \.\/server\.js/);
  await refused(['start', echo, echo], /one script at a time: what is ".*http-echo.cjs"\?/, /after "--"/);
  await refused(['start', echo, '--nope'], /Unknown argument: nope/);
  await refused(['start', echo, '--workers'], /Not enough arguments following: workers/);
  await refused(['start', echo, '--listen'], /Not enough arguments following: listen/);
  await refused(['start', echo, '--workers', '1', '--workers', '2'], /--workers is given more than once/);
  await refused(['start', echo, '--config', 'a.json', '--config', 'b.json'], /--config is given more than once/);
  await refused(['stop', 'a', 'b'], /one master at a time: what is "b"\?/, /stop --help/);
});

test('Every mistake in the values is told at once: where, what was expected, what was got', async () => {
  await assertRefused(['start', echo, '--drain-timeout', '5', '--workers', 'many', '--listen', 'nowhere', '--log-level', 'loud'], {
    code: 'config-invalid',
    env: { GRACEFUL_SUPER_BACKLOG: '0' },
    says: new RegExp(
      [
        'configuration: 5 mistakes',
        '--workers: expected a whole number from 1 to 1024, or "auto", got "many"',
        '--listen: expected \\[HOST:\\]PORT, udp:\\[HOST:\\]PORT or unix:/path.*, got "nowhere"',
        '--backlog from GRACEFUL_SUPER_BACKLOG: expected a whole number from 1 to 65535, got "0"',
        '--drain-timeout: expected a time such as 500ms.*, got "5"',
        '--log-level: expected error, warn, info or debug, got "loud"',
      ].join('\\n  '),
    ),
    hint: /start --help/,
  });
  for (const value of ['', '-1', '1.5', '1e3', '0', '99999', ' 1']) {
    await assertRefused(['start', echo, `--workers=${value}`], {
      code: 'config-invalid',
      says: /--workers: expected a whole number .*, got "/,
      hint: /--help/,
    });
  }
  await assertRefused(['start', echo], {
    code: 'config-invalid',
    env: { GRACEFUL_SUPER_NOPE: '1' },
    says: /GRACEFUL_SUPER_NOPE: no such option/,
    hint: /--help/,
  });
  await assertRefused(['start', echo, '--name', '../up'], { code: 'config-invalid', says: /--name: expected 1 to 64 letters.*got "\.\.\/up"/, hint: /--help/ });
});

test('A script that is missing or a directory', async () => {
  await assertRefused(['start', './nope.js'], { code: 'script-not-found', says: /cannot start .*\/nope\.js: no such file/, hint: /comes after "start"/ });
  await assertRefused(['start', `${echo}/x.js`], { code: 'script-not-found', says: /no such file/, hint: /comes after "start"/ });
  await assertRefused(['start', tmpdir()], {
    code: 'script-is-directory',
    says: /it is a directory without package\.json or index\.js/,
    hint: /name the file/,
  });
  await assertRefused(['start', 'npm', '--', 'start'], { code: 'script-not-found', says: /cannot start .*\/npm: no such file/, hint: /would stand between/ });
});

test('A script, a folder on its way, a control folder or a port that the user has no right to', needsNobody, async () => {
  using folder = temporaryFolder();
  chmodSync(folder.path, 0o755);
  const script = join(folder.path, 'secret.cjs');
  copyFileSync(echo, script);
  chmodSync(script, 0o600);
  const locked = join(folder.path, 'locked');
  mkdirSync(locked, { mode: 0o700 });
  const unreadable = { code: 'script-unreadable', says: /permission denied/, hint: /must be able to read it/, asNobody: true } as const;
  await assertRefused(['start', script], unreadable);
  await assertRefused(['start', join(locked, 'x.cjs')], unreadable);
  await assertRefused(['start', echo, '--runtime-dir', join(locked, 'run')], {
    code: 'control-folder-unwritable',
    says: /cannot use the control folder .*locked\/run: EACCES/,
    hint: /--runtime-dir/,
    asNobody: true,
  });
  const foreign = join(folder.path, 'foreign');
  mkdirSync(foreign, { mode: 0o777 });
  chownSync(foreign, 4711, 4711);
  chmodSync(foreign, 0o777);
  await assertRefused(['start', echo, '--runtime-dir', foreign], {
    code: 'control-folder-unwritable',
    says: /it belongs to another user \(uid 4711\)/,
    hint: /--runtime-dir/,
    asNobody: true,
  });
  await assertRefused(['start', echo, '--pid-file', join(locked, 'pid')], { code: 'pid-file-unwritable', says: /EACCES/, hint: /--pid-file/, asNobody: true });
  await assertRefused(['start', echo, '--log-file', join(locked, 'log')], { code: 'log-file-unwritable', says: /EACCES/, hint: /--log-file/, asNobody: true });
  await assertRefused(['start', echo, '--listen', '127.0.0.1:80'], {
    code: 'address-denied',
    says: /cannot listen on 127\.0\.0\.1:80: permission denied/,
    hint: /CAP_NET_BIND_SERVICE/,
    asNobody: true,
  });
});

test('An address that is taken, not of this machine, or a file', async () => {
  await using taken = await takePort();
  await assertRefused(['start', echo, '--listen', `127.0.0.1:${taken.port}`], {
    code: 'address-in-use',
    says: new RegExp(`cannot listen on 127\\.0\\.0\\.1:${taken.port}: address already in use`),
    hint: new RegExp(`ss -ltnp 'sport = :${taken.port}'`),
  });
  await assertRefused(['start', echo, '--listen', '192.0.2.1:0'], { code: 'address-unavailable', says: /EADDRNOTAVAIL/, hint: /ip address/ });
  using folder = temporaryFolder();
  const file = write(folder, 'file', 'precious');
  await assertRefused(['start', echo, '--listen', `unix:${file}`], { code: 'not-a-socket', says: /is no socket/, hint: /remove it/ });
  assert.ok(existsSync(file), 'it is not unlinked');
});

test('A port that the program itself finds taken ends the start with the same code', async () => {
  await using taken = await takePort();
  await using rig = await startMaster({ script: 'http-echo.cjs', env: { PORT: String(taken.port) }, waitReady: false });
  const { code, stderr } = await rig.finished;
  assert.equal(code, exitCodes['address-in-use'], stderr);
  const { message } = (await rig.events.find(({ event }) => event === 'reload-finished')) ?? { message: '' };
  assert.match(message, /start failed: worker 1 .*listen EADDRINUSE: address already in use/);
});

test('A control folder that is a file, and a control socket whose path is too long', async () => {
  using folder = temporaryFolder();
  const file = write(folder, 'file', '');
  const refusal = { code: 'control-folder-unwritable', says: /cannot use the control folder/, hint: /--runtime-dir/ } as const;
  await assertRefused(['start', echo], { ...refusal, runtimeDir: file });
  await assertRefused(['start', echo], { ...refusal, runtimeDir: join(file, 'in-it') });
  await assertRefused(['start', echo, '--name', 'n'.repeat(64)], { ...refusal, says: /path of the control socket is too long/, hint: /shorter --name/ });
});

test('A name that is running, none that is, and several without a name', async () => {
  await using one = await startMaster({ script: 'http-echo.cjs', name: 'one' });
  const { runtimeDir } = one;
  await assertRefused(['start', echo, '--name', 'one'], {
    code: 'already-running',
    says: /a master named "one" is already running/,
    hint: /--name/,
    runtimeDir,
  });
  for (const command of ['reload', 'stop', 'status']) {
    await assertRefused([command], { code: 'not-running', says: /no master is running/, hint: /graceful-super start/ });
    await assertRefused([command, 'two'], { code: 'not-running', says: /no master named "two" is running/, hint: /there are: one/, runtimeDir });
  }
  await using _two = await startMaster({ script: 'http-echo.cjs', name: 'two', runtimeDir });
  for (const command of ['reload', 'stop']) {
    await assertRefused([command], { code: 'several-running', says: /several masters are running: one, two/, hint: /name the one/, runtimeDir });
  }
  assert.equal((await one.status()).name, 'one');
});

test('A configuration file that is missing, does not parse, throws, or says what there is not', async () => {
  using folder = temporaryFolder();
  const refused = (file: string, says: RegExp, code: ErrorCode = 'config-unreadable') =>
    assertRefused(['start', echo, '--config', file], { code, says, hint: code === 'config-invalid' ? /--help/ : /is JSON, or exports/ });
  await refused('nope.json', /cannot read configuration file .*nope\.json: no such file/);
  await refused(folder.path, /expected a \.json, \.js, \.mjs or \.cjs file/);
  await refused(write(folder, 'a.json', '{ "workers": '), /a\.json: it is not JSON: /);
  await refused(write(folder, 'b.json', '[1]'), /b\.json: expected an object, got \[1\]/);
  await refused(write(folder, 'c.mjs', 'const x = 1;\nthrow new TypeError("no database");'), /c\.mjs: TypeError: no database \(file:.*c\.mjs:2\)/);
  await refused(write(folder, 'd.mjs', 'export default {\n  workers: 1,,\n};'), /d\.mjs: SyntaxError: .* \(file:.*d\.mjs:2\)/);
  await refused(write(folder, 'e.mjs', 'export default async () => { throw new Error("later"); };'), /e\.mjs: Error: later/);
  await refused(write(folder, 'f.mjs', 'export const workers = 1;'), /f\.mjs: expected an object, got null/);
  await refused(
    write(folder, 'g.json', '{ "worker": 2, "surge": "x", "args": "--flag" }'),
    /3 mistakes\n {2}worker in .*g\.json: no such option\n {2}surge in .*g\.json: expected .*, got "x"\n {2}args in .*g\.json: expected a list of texts, got "--flag"/,
    'config-invalid',
  );
});

test('An environment file, a working directory, a Node binary, a log file or a pid file that cannot be used', async () => {
  using folder = temporaryFolder();
  const file = write(folder, 'file', '');
  const old = write(folder, 'old-node', '#!/bin/sh\necho 18.0.0\n', 0o755);
  const newer = (says: RegExp) => ({ code: 'node-unusable', says, hint: /Node 20\.19 or later/ }) as const;
  await assertRefused(['start', echo, '--environment-file', 'nope.env'], {
    code: 'env-file-unreadable',
    says: /nope\.env: no such file/,
    hint: /--environment-file/,
  });
  await assertRefused(['start', echo, '--environment-file', root], { code: 'env-file-unreadable', says: /it is a directory/, hint: /--environment-file/ });
  await assertRefused(['start', echo, '--cwd', 'nope'], { code: 'cwd-invalid', says: /nope: no such file/, hint: /--cwd/ });
  await assertRefused(['start', echo, '--cwd', file], { code: 'cwd-invalid', says: /it is no directory/, hint: /--cwd/ });
  await assertRefused(['start', echo, '--node', './no-node'], { code: 'node-unusable', says: /no-node: no such file/, hint: /--node with a path/ });
  await assertRefused(['start', echo, '--node', old], newer(/old-node: it is Node 18\.0\.0/));
  await assertRefused(['start', echo, '--node', file], newer(/file: permission denied/));
  await assertRefused(['start', echo, '--log-file', join(file, 'log')], { code: 'log-file-unwritable', says: /ENOTDIR/, hint: /--log-file/ });
  await assertRefused(['start', echo, '--log-file', folder.path], { code: 'log-file-unwritable', says: /EISDIR/, hint: /--log-file/ });
  await assertRefused(['start', echo, '--pid-file', join(folder.path, 'no/pid')], { code: 'pid-file-unwritable', says: /ENOENT/, hint: /--pid-file/ });
  await assertRefused(['start', echo, '--pid-file', folder.path], { code: 'pid-file-unwritable', says: /it is a directory/, hint: /--pid-file/ });
});

test('A bad script at a reload is told by the exit code, and the old one serves on', async (t: TestContext) => {
  using folder = temporaryFolder();
  const script = join(folder.path, 'app.cjs');
  copyFileSync(echo, script);
  await using rig = await startMaster({ script });
  const [pid] = await rig.pids();
  writeFileSync(script, 'this is no program(');
  const { code, stdout, stderr } = await rig.command('reload');
  t.diagnostic(stderr);
  assert.equal(code, exitCodes['reload-failed']);
  assert.match(stderr, /^reload failed, rolled back: worker 2 .*SyntaxError.*; generation 1 goes on \(1 worker serving\)/);
  assert.doesNotMatch(stdout, /rolled back/);
  assert.deepEqual(await rig.pids(), [pid]);
});

test('What a worker says that fits nothing is logged, ignored, and harms nobody', async () => {
  await using rig = await startMaster({ script: 'talks-nonsense.cjs', flags: ['--log-level', 'debug'] });
  const [pid] = await rig.pids();
  for (let round = 0; round < 5; round++) assert.equal((await ask(rig.url())).text, String(pid));
  const notes = (text: RegExp) => rig.until('worker-note', ({ message }) => text.test(message));
  await notes(/said something malformed, which is ignored: .*id/);
  const { level } = await notes(/sent 1 messages to its parent, which nobody reads, last \{"nonsense":1\}/);
  assert.equal(level, 'debug');
  assert.ok(rig.events.every(({ message }) => message.length < 1000));
  assert.equal((await rig.hup())['outcome'], 'committed');
  assert.ok((await rig.status()).workers.every(({ connections }) => (connections ?? 0) < 100));
});

test('What a program tells its parent, in a loop, is no line of the log by default, and one a minute for whoever debugs', async () => {
  for (const [level, lines] of [
    ['info', 0],
    ['debug', 1],
  ] as const) {
    await using rig = await startMaster({ script: 'tells-its-parent.cjs', flags: ['--log-level', level] });
    assert.equal((await ask(rig.url())).text, 'told');
    await rig.hup(); // what was told before is heard by now
    await rig.until('generation-gone');
    const notes = rig.events.filter(({ event, worker }) => event === 'worker-note' && worker === 1);
    assert.equal(notes.length, lines);
  }
});

test('A worker that writes garbage into its channel does not harm the master', async () => {
  await using rig = await startMaster({ script: 'writes-into-channel.cjs' });
  await ask(rig.url());
  await rig.until('internal-error', ({ message }) => /going on: .*JSON/.test(message));
  assert.equal((await rig.hup())['outcome'], 'committed');
});
