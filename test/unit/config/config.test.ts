/** Flags, environment and file → one checked configuration, or every mistake at once. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { defaultRuntimeDirs, flagName } from '../../../src/config/config.ts';
import { makeFolder } from '../helpers/folder.ts';
import { failToLoad, load } from '../helpers/load-config.ts';

test('nothing said: the defaults, complete and frozen', async () => {
  const config = await load();
  assert.deepEqual(config, {
    name: 'app',
    script: '/base/app.js',
    args: [],
    env: {},
    cwd: '/base',
    workers: 1,
    listen: [],
    waitReady: false,
    readyTimeout: 30_000,
    surge: 1024,
    probation: 1000,
    allowAddressChange: false,
    handoff: true,
    handoffTls: false,
    idleGrace: 5000,
    drainTimeout: 30_000,
    killTimeout: 30_000,
    linger: 5000,
    maxDraining: 10,
    backoffMin: 100,
    backoffMax: 30_000,
    restartLimit: 5,
    restartWindow: 60_000,
    restart: 'always',
    overlap: true,
    heartbeatTimeout: 60_000,
    blockedStack: false,
    preflight: [],
    preflightStatus: [[200, 299]],
    preflightTimeout: 5000,
    health: [],
    healthInterval: 10_000,
    healthTimeout: 5000,
    healthFailures: 3,
    environmentFile: [],
    nodeArg: [],
    logLevel: 'info',
    logFormat: 'auto',
  });
  assert.ok(Object.isFrozen(config));
});

describe('precedence', () => {
  const env = { GRACEFUL_SUPER_WORKERS: '3', GRACEFUL_SUPER_KILL_TIMEOUT: '3s' };

  test('flags before environment before file before defaults', async () => {
    using folder = makeFolder();
    const configFile = folder.write('c.json', JSON.stringify({ workers: 2, killTimeout: '2s', idleGrace: '2s' }));
    const config = await load({ flags: { workers: '4', idleGrace: undefined }, env, configFile });
    assert.deepEqual([config.workers, config.killTimeout, config.idleGrace, config.drainTimeout], [4, 3000, 2000, 30_000]);
  });

  test('connections are handed over unless somebody says no: --no-handoff, the environment, the file', async () => {
    using folder = makeFolder();
    const configFile = folder.write('c.json', JSON.stringify({ handoff: false }));
    const sources = [{ flags: { handoff: false } }, { env: { GRACEFUL_SUPER_HANDOFF: 'no' } }, { configFile }];
    for (const source of sources) assert.equal((await load(source)).handoff, false);
    assert.equal((await load({ flags: { handoff: true }, configFile })).handoff, true);
  });

  test('a flag replaces a list, it does not add to it', async () => {
    const config = await load({ flags: { nodeArg: ['--a'] }, env: { GRACEFUL_SUPER_NODE_ARG: '--b --c' } });
    assert.deepEqual(config.nodeArg, ['--a']);
  });

  test('script and arguments of the command line before those of the file', async () => {
    using folder = makeFolder();
    const configFile = folder.write('c.json', JSON.stringify({ script: 'other.js', args: ['x'] }));
    const both = await load({ configFile, args: ['y'] });
    assert.deepEqual([both.script, both.args], ['/base/app.js', ['y']]);
    const fromFile = await load({ configFile, script: undefined });
    assert.deepEqual([fromFile.script, fromFile.args], [join(folder.path, 'other.js'), ['x']]);
  });

  test('--config before GRACEFUL_SUPER_CONFIG, which is relative to the folder', async () => {
    using folder = makeFolder();
    const configFile = folder.write('flag.json', '{"workers": 2}');
    folder.write('variable.json', '{"workers": 3}');
    const variable = { folder: folder.path, env: { GRACEFUL_SUPER_CONFIG: 'variable.json' } };
    assert.equal((await load({ ...variable, configFile })).workers, 2);
    assert.equal((await load(variable)).workers, 3);
  });
});

describe('the environment', () => {
  test('a list is separated by spaces', async () => {
    const { listen } = await load({ env: { GRACEFUL_SUPER_LISTEN: ' 80  unix:/a ' } });
    assert.deepEqual(
      listen.map(({ kind }) => kind),
      ['tcp', 'unix'],
    );
  });

  test('variables of others do not matter', async () => {
    assert.equal((await load({ env: { WORKERS: '9', graceful_super_workers: '9', GRACEFUL_SUPERB: '9' } })).workers, 1);
  });
});

describe('paths', () => {
  test('of a file are relative to the file', async () => {
    using folder = makeFolder();
    const configFile = folder.write('etc/c.json', JSON.stringify({ script: '../app.js', cwd: '..', logFile: 'log', environmentFile: ['.env', '/abs/.env'] }));
    const config = await load({ configFile, script: undefined });
    const etc = join(folder.path, 'etc');
    assert.deepEqual([config.script, config.cwd, config.logFile], [join(folder.path, 'app.js'), folder.path, join(etc, 'log')]);
    assert.deepEqual(config.environmentFile, [join(etc, '.env'), '/abs/.env']);
  });

  test('of flags and environment are relative to the folder', async () => {
    const config = await load({ flags: { pidFile: 'run/pid', runtimeDir: '/run/x' }, env: { GRACEFUL_SUPER_CWD: '../else' } });
    assert.deepEqual([config.pidFile, config.runtimeDir, config.cwd], ['/base/run/pid', '/run/x', '/else']);
  });

  test('a Node binary may be a name to look up', async () => assert.equal((await load({ flags: { node: 'node22' } })).node, 'node22'));
});

describe('what follows from the rest', () => {
  for (const [script, name] of [
    ['server.js', 'server'],
    ['dist/my server.mjs', 'my-server'],
    ['.hidden.js', 'hidden'],
    ['app', 'app'],
    [`${'x'.repeat(80)}.js`, 'x'.repeat(64)],
  ] as const) {
    test(`${script} is named ${name}`, async () => assert.equal((await load({ script })).name, name));
  }

  test('a name that is given is taken', async () => assert.equal((await load({ flags: { name: 'web' } })).name, 'web'));

  test('surge "all" is any number of workers: there may be more than are configured', async () => {
    assert.equal((await load({ flags: { workers: 4 } })).surge, 1024);
    assert.equal((await load({ flags: { workers: 4, surge: 2 } })).surge, 2);
  });
});

describe('mistakes', () => {
  test('one is told with its flag, what was expected and what was got', async () => {
    const error = await failToLoad({ flags: { workers: 'many' } });
    assert.equal(error.code, 'config-invalid');
    assert.equal(error.message, 'configuration: --workers: expected a whole number from 1 to 1024, or "auto", got "many"');
    assert.equal(error.hint, 'graceful-super start --help lists every option');
  });

  test('all are listed at once, each with its source', async () => {
    using folder = makeFolder();
    const configFile = folder.write('c.json', JSON.stringify({ maxDraining: 0, speed: 9, args: 'x' }));
    const env = { GRACEFUL_SUPER_LOG_LEVEL: 'loud', GRACEFUL_SUPER_SPEED: '1' };
    const { message } = await failToLoad({ configFile, env, flags: { drainTimeout: '30' } });
    assert.deepEqual(message.split('\n  ').sort(), [
      '--drain-timeout: expected a time such as 500ms, 30s, 5m or 1h30m, at most 24d, got "30"',
      '--log-level from GRACEFUL_SUPER_LOG_LEVEL: expected error, warn, info or debug, got "loud"',
      'GRACEFUL_SUPER_SPEED: no such option',
      `args in ${configFile}: expected a list of texts, got "x"`,
      'configuration: 6 mistakes',
      `maxDraining in ${configFile}: expected a whole number from 1 to 1000, got 0`,
      `speed in ${configFile}: no such option`,
    ]);
  });

  test('what is overridden is not held against anybody', async () => {
    assert.equal((await load({ flags: { workers: 2 }, env: { GRACEFUL_SUPER_WORKERS: 'many' } })).workers, 2);
  });

  test('the item of a list is shown', async () => {
    assert.match((await failToLoad({ flags: { listen: ['80', 'nowhere'] } })).message, /^configuration: --listen: expected .*, got "nowhere"$/);
  });

  for (const [key, value, mistake] of [
    ['script', '', 'expected a path, got ""'],
    ['args', 5, 'expected a list of texts, got 5'],
    ['env', 'x', 'expected an object of texts, got "x"'],
  ] as const) {
    test(`${key} in a file: ${mistake}`, async () => {
      using folder = makeFolder();
      const configFile = folder.write('c.json', JSON.stringify({ [key]: value }));
      assert.equal((await failToLoad({ configFile })).message, `configuration: ${key} in ${configFile}: ${mistake}`);
    });
  }

  test('a variable for the program must be a text, and is named', async () => {
    using folder = makeFolder();
    const configFile = folder.write('c.json', '{"env": {"PORT": 80}}');
    assert.equal((await failToLoad({ configFile })).message, `configuration: env.PORT in ${configFile}: expected an object of texts, got 80`);
  });

  test('nothing to start is wrong usage', async () => assert.equal((await failToLoad({ script: undefined })).code, 'usage'));
});

test('an option is written in kebab-case as a flag', () => assert.equal(flagName('drainTimeout'), '--drain-timeout'));

test('the folder of the control sockets is the one of the user, or of the system for root; where everybody may make files comes last', () => {
  const uid = process.getuid?.() ?? 0;
  const isLinux = process.platform === 'linux';
  const folders = [{ XDG_RUNTIME_DIR: '/run/user/7' }, {}, { XDG_RUNTIME_DIR: '' }].map((env) => defaultRuntimeDirs(env, '/tmp'));
  const shared = [...(isLinux ? [`/dev/shm/graceful-super-${uid}`] : []), `/tmp/graceful-super-${uid}`];
  const own = isLinux ? [`/run/user/${uid}/graceful-super`] : [];
  const expected = [['/run/user/7/graceful-super', ...own], own, own].map((first) => [...(uid === 0 && isLinux ? ['/run/graceful-super'] : first), ...shared]);
  assert.deepEqual(folders, expected);
});
