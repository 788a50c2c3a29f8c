/** A neighbour on the same machine: what he made is neither believed nor removed nor written to. */
import assert from 'node:assert/strict';
import { chmodSync, chownSync, copyFileSync, existsSync, lchownSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { exitCodes } from '../../src/errors.ts';
import { CONTROL_PROTOCOL, PROTOCOL_HEADER } from '../../src/protocol/control.ts';
import { NOBODY, needsNobody, runAsNobody } from '../helpers/nobody.ts';
import { cli, fixture, poll, startMaster, temporaryFolder } from '../helpers/rig.ts';

const OTHER = 64_321;
const SPOOF = '\u001b]0;by another user\u0007\u001b[31mreloaded\u0085: all is well\u0007';

/** Whoever asks here is told that all is well. */
async function pretend(folder: string, owner = process.getuid?.() ?? 0): Promise<AsyncDisposable> {
  const lock = join(folder, 'app.lock');
  mkdirSync(lock, { recursive: true, mode: 0o755 });
  const event = { type: 'event', event: 'x', level: 'info', text: SPOOF };
  const outcome = { type: 'outcome', isDone: true, error: null, generation: 7, text: SPOOF };
  const server = createServer((_request, response) =>
    response.setHeader(PROTOCOL_HEADER, CONTROL_PROTOCOL).end(`${JSON.stringify(event)}\n${JSON.stringify(outcome)}\n`),
  );
  await new Promise<void>((resolve) => server.listen(join(lock, 'entry'), resolve));
  chmodSync(join(lock, 'entry'), 0o777);
  symlinkSync('app.lock/entry', join(folder, 'app.sock'));
  for (const path of [folder, lock, join(lock, 'entry'), join(folder, 'app.sock')]) lchownSync(path, owner, owner);
  return { [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())) };
}

/** As /tmp is. */
function shared(path: string): string {
  mkdirSync(path);
  chmodSync(path, 0o1777);
  return path;
}

for (const [what, prepare, says] of [
  ['A control folder of another user', (folder: string) => pretend(folder, OTHER), /belongs to another user \(uid 64321\)/],
  [
    'A link of another user to a control folder',
    async (folder: string) => {
      const [pretence] = [await pretend(`${folder}.real`, NOBODY), symlinkSync(`${folder}.real`, folder), lchownSync(folder, OTHER, OTHER)];
      return pretence;
    },
    /belongs to another user \(uid 64321\)/,
  ],
  [
    'A link of our own to a control folder of another user',
    async (folder: string) => {
      const [pretence] = [await pretend(`${folder}.real`, OTHER), symlinkSync(`${folder}.real`, folder), lchownSync(folder, NOBODY, NOBODY)];
      return pretence;
    },
    /belongs to another user \(uid 64321\)/,
  ],
  [
    'A control folder where everybody may change what others made',
    async (folder: string) => {
      const [pretence] = [await pretend(folder, NOBODY), chmodSync(folder, 0o777)];
      return pretence;
    },
    /everybody may change what is in it \(mode 777\)/,
  ],
  [
    'A control socket of another user in a folder where everybody may make one',
    async (folder: string) => {
      const [pretence] = [await pretend(folder, OTHER), chownSync(folder, NOBODY, NOBODY), chmodSync(folder, 0o1777)];
      return pretence;
    },
    /belongs to another user \(uid 64321\)/,
  ],
] as const) {
  test(`${what} is believed by no command and used by no master`, needsNobody, async () => {
    using parent = temporaryFolder();
    chmodSync(parent.path, 0o755);
    const tmp = shared(join(parent.path, 'tmp'));
    const folder = join(tmp, `graceful-super-${NOBODY}`);
    await using _ = await prepare(folder);
    const env = { TMPDIR: tmp, XDG_RUNTIME_DIR: undefined };
    for (const [args, codes] of [
      [['reload'], ['not-running']],
      [['reload', '--runtime-dir', folder], [what.startsWith('A control socket') ? 'not-running' : 'control-failed']],
      [['start', fixture('http-echo.cjs'), '--name', 'app', '--runtime-dir', folder], ['control-folder-unwritable']],
    ] as const) {
      const { code, stdout, stderr } = runAsNobody(args, env);
      assert.ok(
        codes.some((name) => exitCodes[name] === code),
        `${args[0]} ends with ${code}: ${stderr}`,
      );
      assert.equal(stdout, '');
      assert.match(stderr, says);
    }
  });
}

test('The masters of a user are looked for in his folder in /run first, though nobody says where that is', needsNobody, () => {
  const { stderr } = runAsNobody(['status'], { XDG_RUNTIME_DIR: undefined });
  assert.match(stderr, new RegExp(`no master is running \\(in /run/user/${NOBODY}/graceful-super`));
});

test('Root finds the masters of other users in folders that it is told', needsNobody, async () => {
  using folder = temporaryFolder();
  await using _ = await pretend(join(folder.path, 'run'), OTHER);
  const { code, stdout, stderr } = await cli(['reload', '--runtime-dir', join(folder.path, 'run')]);
  assert.deepEqual([code, stdout.trim().split('\n'), stderr], [0, ['reloaded: all is well'], '']);
});

test('What others wrote is printed without what a terminal would obey; for programs it is exact', async () => {
  using folder = temporaryFolder();
  const script = join(folder.path, 'fails.cjs');
  writeFileSync(script, `throw new Error(${JSON.stringify(SPOOF)} + '\\nforged line');`);
  const flags = ['start', script, '--runtime-dir', join(folder.path, 'run'), '--log-format'];
  const [text, json] = await Promise.all([cli([...flags, 'text', '--name', 'text']), cli([...flags, 'json', '--name', 'json'])]);
  const own = (stderr: string) => stderr.split('\n').filter((line) => /start failed/.test(line));
  for (const line of own(text.stderr)) assert.match(line, /^[\x20-\x7e]*reloaded: all is well$/);
  assert.equal(text.stderr.split('\n').filter((line) => line.startsWith('forged')).length, 1, 'what the program itself wrote there, and nothing of ours');
  const logged = await cli(['start', script, '--runtime-dir', join(folder.path, 'run'), '--log-file', join(folder.path, 'log')]);
  assert.match(own(logged.stderr).join('\n'), /^graceful-super: [\x20-\x7e]*reloaded: all is well$/);
  const missing = await cli(['start', `/nowhere/${SPOOF}`]);
  assert.match(missing.stderr, /^graceful-super: [\x20-\x7e]*reloaded: all is well: no such file$/m);
  const failure = own(json.stderr).map((line) => JSON.parse(line) as { failure: { error: { message: string } } });
  assert.equal(failure[0]?.failure.error.message, `${SPOOF}\nforged line`);
});

test('What is in the place of a lock or of a control socket and is none is left alone', async () => {
  using folder = temporaryFolder();
  for (const path of ['one.lock/notes', 'two.sock', 'three.lock']) {
    const file = join(folder.path, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, 'precious');
    const [name = ''] = path.split('.');
    const { code, stderr } = await cli(['start', fixture('http-echo.cjs'), '--name', name, '--runtime-dir', folder.path]);
    assert.equal(code, exitCodes['control-folder-unwritable'], stderr);
    assert.match(stderr, /cannot use the control folder/);
    assert.equal(readFileSync(file, 'utf8'), 'precious');
  }
});

test('The pid file of a master that is alive is not taken by another one; that of one that was killed is', async () => {
  using folder = temporaryFolder();
  const pidFile = join(folder.path, 'pid');
  const options = { script: 'http-echo.cjs', flags: ['--pid-file', pidFile] };
  await using first = await startMaster({ ...options, runtimeDir: join(folder.path, 'first') });
  const held = () => existsSync(pidFile) && readFileSync(pidFile, 'utf8') === `${first.pid}\n`;
  await poll(held, () => 'no pid file');
  const { code, stderr } = await cli(['start', fixture('http-echo.cjs'), '--pid-file', pidFile, '--runtime-dir', join(folder.path, 'second')]);
  assert.deepEqual([code, held()], [exitCodes['pid-file-unwritable'], true]);
  assert.match(stderr, new RegExp(`it is that of process ${first.pid}, which is running`));
  copyFileSync(pidFile, `${pidFile}.copy`);
  await first.stop();
  copyFileSync(`${pidFile}.copy`, pidFile);
  await using next = await startMaster({ ...options, runtimeDir: join(folder.path, 'first') });
  await poll(
    () => readFileSync(pidFile, 'utf8') === `${next.pid}\n`,
    () => readFileSync(pidFile, 'utf8'),
  );
});

test('No pid file and no log is written where a link leads that another user made, nor over what is none', needsNobody, async () => {
  using folder = temporaryFolder();
  const tmp = shared(join(folder.path, 'tmp'));
  const precious = join(folder.path, 'precious');
  writeFileSync(precious, 'this is longer than the number of any process');
  for (const [flag, path, owner] of [
    ['--pid-file', 'link', OTHER],
    ['--pid-file', 'own-link', 0],
    ['--log-file', 'link', OTHER],
  ] as const) {
    const link = join(tmp, path);
    if (!existsSync(link)) symlinkSync(precious, link);
    lchownSync(link, owner, owner);
    const { code, stderr } = await cli(['start', fixture('http-echo.cjs'), flag, link, '--runtime-dir', join(folder.path, 'run')]);
    assert.equal(code, exitCodes[flag === '--pid-file' ? 'pid-file-unwritable' : 'log-file-unwritable'], stderr);
    assert.match(stderr, owner === OTHER ? /another user \(uid 64321\)/ : /is no pid file/);
  }
  assert.equal(readFileSync(precious, 'utf8'), 'this is longer than the number of any process');
});

test('A log that is a link of our own is followed', async () => {
  using folder = temporaryFolder();
  symlinkSync(join(folder.path, 'today.log'), join(folder.path, 'log'));
  await using rig = await startMaster({ script: 'http-echo.cjs', flags: ['--log-file', join(folder.path, 'log')], waitReady: false });
  await poll(
    () => existsSync(join(folder.path, 'today.log')) && readFileSync(join(folder.path, 'today.log'), 'utf8').includes('master-ready'),
    () => rig.stderr,
  );
});
