import assert from 'node:assert/strict';
import { cpSync, mkdirSync, realpathSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { exitCodes } from '../../src/errors.ts';
import type { Status } from '../../src/protocol/control.ts';
import { ask, cli, fixture, poll, type Rig, startMaster, temporaryFolder } from '../helpers/rig.ts';

interface Told {
  readonly script: string;
  readonly args: readonly string[];
  readonly execArgv: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly pid: number;
  readonly execPath: string;
}

const tell = async (rig: Rig) => JSON.parse((await ask(rig.url())).text) as Told;
const script = fixture('tells-itself.cjs');

function write(folder: { readonly path: string }, name: string, content: unknown): string {
  const path = join(folder.path, name);
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}

test('Flags win over the environment, that over the file, that over the defaults', async () => {
  using folder = temporaryFolder();
  const config = write(folder, 'app.json', { workers: 2 });
  const workers = async (flags: readonly string[], env: NodeJS.ProcessEnv = {}) => {
    await using rig = await startMaster({ script, flags, env });
    const { workersWanted } = await rig.status();
    assert.equal((await rig.pids()).length, workersWanted);
    return workersWanted;
  };
  assert.equal(await workers([]), 1);
  assert.equal(await workers(['--config', config]), 2);
  assert.equal(await workers(['--config', config], { GRACEFUL_SUPER_WORKERS: '3' }), 3);
  assert.equal(await workers(['--config', config, '--workers', '4'], { GRACEFUL_SUPER_WORKERS: '3' }), 4);
  assert.equal(await workers([], { GRACEFUL_SUPER_CONFIG: config }), 2);
});

test('A configuration file in JSON, CJS or MJS names script, arguments and environment; its paths start from its folder', async () => {
  using folder = temporaryFolder();
  cpSync(script, join(folder.path, 'app.cjs'));
  mkdirSync(join(folder.path, 'work'));
  const values = { script: './app.cjs', args: ['--port', 'x'], env: { FROM: 'file' }, cwd: 'work', name: 'configured' };
  const files = [
    write(folder, 'a.json', values),
    write(folder, 'b.cjs', `module.exports = ${JSON.stringify(values)}`),
    write(folder, 'c.mjs', `console.log('noise'); export default async () => (${JSON.stringify(values)})`),
  ];
  for (const file of files) {
    const runtimeDir = join(folder.path, 'run');
    const env = { GRACEFUL_SUPER_RUNTIME_DIR: runtimeDir };
    const ended = cli(['start', '--config', file, '--log-format', 'json'], env, '/');
    let status: Status | undefined;
    await poll(
      async () => {
        status = JSON.parse((await cli(['status', '--json'], env)).stdout || 'null') as Status | undefined;
        return status?.generation === 1;
      },
      () => 'it does not start',
    );
    assert.ok(status);
    assert.equal(status.name, 'configured');
    const told = JSON.parse((await ask(`http://${status.listeners[0]?.address}`)).text) as Told;
    assert.deepEqual([told.script, told.args, told.cwd], [join(folder.path, 'app.cjs'), ['--port', 'x'], join(folder.path, 'work')]);
    assert.equal(told.env['FROM'], 'file');
    assert.equal((await cli(['stop'], env)).code, 0);
    assert.equal((await ended).code, 0);
  }
});

test('A reload reads the configuration and the environment file anew', async () => {
  using folder = temporaryFolder();
  const environment = write(folder, 'app.env', 'COLOUR=red\nOLD=1\n');
  const config = write(folder, 'app.json', { workers: 1, environmentFile: 'app.env', drainTimeout: '1h' });
  await using rig = await startMaster({ script, flags: ['--config', config] });
  assert.equal((await tell(rig)).env['COLOUR'], 'red');
  for (const workers of [3, 1]) {
    write(folder, 'app.json', { workers, environmentFile: 'app.env', args: [`--of=${workers}`] });
    writeFileSync(environment, `COLOUR="dark blue ${workers}"\n`);
    assert.equal((await rig.hup())['outcome'], 'committed');
    assert.equal((await rig.pids()).length, workers);
    const { env, args } = await tell(rig);
    assert.deepEqual([env['COLOUR'], env['OLD'], args], [`dark blue ${workers}`, undefined, [`--of=${workers}`]]);
  }
});

test('A configuration that is broken at a reload fails the reload, and nothing was touched', async () => {
  using folder = temporaryFolder();
  const config = write(folder, 'app.json', { workers: 1 });
  await using rig = await startMaster({ script, flags: ['--config', config] });
  const [pid] = await rig.pids();
  const broken: readonly [unknown, RegExp][] = [
    ['{ "workers": ', /cannot read configuration file .*app\.json: it is not JSON/],
    [{ workers: 0 }, /workers in .*app\.json: expected a whole number from 1 to 1024, or "auto", got 0/],
    [{ wrokers: 1 }, /wrokers in .*app\.json: no such option/],
    [{ environmentFile: 'nope.env' }, /cannot read environment file .*nope\.env: no such file/],
    [{ cwd: 'nope' }, /cannot use working directory .*nope: no such file/],
    [{ node: './nope' }, /cannot use Node binary .*nope: no such file/],
    [{ listen: [`unix:${config}`] }, /cannot listen on .*app\.json: the file is there and is no socket/],
  ];
  for (const [content, says] of broken) {
    write(folder, 'app.json', content);
    const { code, stderr } = await rig.command('reload');
    assert.equal(code, exitCodes['reload-failed'], stderr);
    assert.match(stderr, /^reload failed, rolled back: .*; generation 1 goes on \(1 worker serving\)$/ms);
    assert.match(stderr, says);
    assert.doesNotMatch(stderr, /^ {4}at /m);
    assert.deepEqual(await rig.pids(), [pid]);
  }
  write(folder, 'app.json', { workers: 1 });
  assert.equal((await rig.command('reload')).code, 0);
});

test('A "current" link that points at a new release is followed at the reload; the old release may go', async () => {
  using folder = temporaryFolder();
  const current = join(folder.path, 'current');
  const release = (name: string) => {
    mkdirSync(join(folder.path, name));
    cpSync(script, join(folder.path, name, 'app.cjs'));
    symlinkSync(name, `${current}.new`);
    renameSync(`${current}.new`, current);
  };
  release('r1');
  await using rig = await startMaster({ script: './app.cjs', cwd: current });
  assert.equal((await tell(rig)).cwd, join(folder.path, 'r1'));
  for (let number = 2; number <= 4; number++) {
    release(`r${number}`);
    assert.equal((await rig.hup())['outcome'], 'committed');
    rmSync(join(folder.path, `r${number - 1}`), { recursive: true });
    const told = await tell(rig);
    assert.deepEqual(
      [told.cwd, told.script, told.env['PWD']],
      [`r${number}`, `r${number}/app.cjs`, `r${number}`].map((path) => join(folder.path, path)),
    );
  }
  assert.equal((await rig.command('status')).code, 0);
});

test('What follows "--" belongs to the program', async () => {
  const args = ['--workers', '7', '-x', '--', 'a b', ''];
  await using rig = await startMaster({ script, args });
  assert.deepEqual((await tell(rig)).args, args);
  assert.equal((await rig.status()).workersWanted, 1);
});

test('--environment-file, --node, --node-arg and --cwd shape the program; nothing of ours shows', async () => {
  using folder = temporaryFolder();
  const node = join(folder.path, 'node');
  symlinkSync(process.execPath, node);
  const first = write(folder, 'a.env', 'A=1\nB=1\nPATH_LIKE=/x:/y\n');
  const second = write(folder, 'b.env', 'B=2\n# comment\nQUOTED="two words"\n');
  const flags = [
    '--environment-file',
    first,
    '--environment-file',
    second,
    '--node',
    node,
    '--node-arg',
    '--enable-source-maps',
    '--node-arg=--no-warnings',
    '--cwd',
    folder.path,
  ];
  await using rig = await startMaster({ script, flags, env: { B: 'inherited', INHERITED: 'yes', GRACEFUL_SUPER_LOG_LEVEL: 'info' } });
  const { env, execArgv, cwd, execPath } = await tell(rig);
  assert.deepEqual([env['A'], env['B'], env['QUOTED'], env['INHERITED'], env['PATH_LIKE']], ['1', '2', 'two words', 'yes', '/x:/y']);
  assert.deepEqual(execArgv, ['--enable-source-maps', '--no-warnings']);
  assert.equal(cwd, realpathSync(folder.path));
  assert.equal(execPath, realpathSync(process.execPath));
  assert.deepEqual(
    Object.keys(env).filter((name) => /GRACEFUL|LISTEN_|NOTIFY_SOCKET|NODE_CHANNEL|NODE_UNIQUE_ID/.test(name)),
    ['GRACEFUL_SUPER_WORKER_INDEX'], // is meant for it
  );
});
