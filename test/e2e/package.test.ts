import assert from 'node:assert/strict';
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { publint } from 'publint';
import { root, temporaryFolder } from '../helpers/rig.ts';

// npm as it came with this Node, or else whichever is found
function run(command: string, args: readonly string[], cwd: string): SpawnSyncReturns<string> {
  const PATH = `${dirname(process.execPath)}:${process.env['PATH']}`;
  return spawnSync(command, args, { cwd, encoding: 'utf8', env: { ...process.env, PATH, npm_config_audit: 'false', npm_config_fund: 'false' } });
}

function succeed(command: string, args: readonly string[], cwd: string): string {
  const { status, stdout, stderr } = run(command, args, cwd);
  assert.equal(status, 0, `${command} ${args.join(' ')}\n${stdout}\n${stderr}`);
  return stdout;
}

interface Packed {
  readonly filename: string;
  readonly files: readonly { readonly path: string }[];
}

test('The package as npm would publish it', async (t: TestContext) => {
  using folder = temporaryFolder();
  const [packed] = JSON.parse(succeed('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder.path], root)) as [Packed];
  const tarball = join(folder.path, packed.filename);
  const paths = packed.files.map(({ path }) => path);

  await t.test('holds what runs, its types and its licence, and no source or test', () => {
    for (const path of [
      'package.json',
      'LICENSE',
      'README.md',
      'bin/graceful-super.js',
      'dist/index.js',
      'dist/index.d.ts',
      'dist/ws.js',
      'dist/ws.d.ts',
      'dist/cli/entry.cjs',
      'dist/worker/preload.cjs',
    ]) {
      assert.ok(paths.includes(path), `${path} is missing`);
    }
    assert.deepEqual(
      paths.filter((path) => !/^(bin|dist)\/|^(package\.json|README\.md|LICENSE|CHANGELOG\.md)$/.test(path)),
      [],
    );
    assert.deepEqual(
      paths.filter((path) => /(^|\/)tests?\/|\.test\.|(?<!\.d)\.ts$/.test(path)),
      [],
    );
  });

  await t.test('requires nothing but Node, itself and, for graceful-super/ws, ws; and what it has of others has its licence', () => {
    const { bundled, ...manifest } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    assert.equal(manifest.dependencies, undefined, 'what is installed with it has to be loaded from there: so far nothing is');
    const code = paths.filter((path) => /^(bin|dist)\/.*\.c?js$/.test(path));
    for (const path of code) {
      const text = readFileSync(join(root, path), 'utf8');
      const asked = [...text.matchAll(/\b(?:require\(|from ?|import ?\(?)(["'])([\w@./:-]+)\1/g)].map(([, , name]) => name as string);
      const missing = asked.filter((name) => (/^\./.test(name) ? !paths.includes(join(dirname(path), name)) : !isBuiltin(name)));
      assert.deepEqual(missing, path === 'dist/ws.js' ? ['ws'] : [], path);
    }
    const licences = readFileSync(join(root, 'dist/licences.txt'), 'utf8');
    for (const name of bundled as string[]) assert.match(licences, new RegExp(`^${name} \\d+\\.`, 'm'));
  });

  await t.test('publint and attw find nothing', async () => {
    const { buffer } = new Uint8Array(readFileSync(tarball));
    const { messages } = await publint({ pack: { tarball: buffer }, strict: true });
    assert.deepEqual(messages, []);
    const attwCli = fileURLToPath(new URL('dist/index.js', import.meta.resolve('@arethetypeswrong/cli/package.json')));
    const attw = run(process.execPath, [attwCli, tarball, '--profile', 'esm-only'], root);
    assert.equal(attw.status, 0, attw.stdout + attw.stderr);
  });

  await t.test('installs without scripts, runs, and is importable', (t: TestContext) => {
    writeFileSync(join(folder.path, 'package.json'), '{ "private": true, "type": "module" }');
    const install = ['install', '--ignore-scripts', tarball];
    const offline = run('npm', [...install, '--offline'], folder.path);
    const { status, stderr } = offline.status === 0 ? offline : run('npm', [...install, '--fetch-retries=1'], folder.path);
    if (status !== 0 && /ENOTFOUND|ECONNREFUSED|ETIMEDOUT|EAI_AGAIN|network/.test(stderr))
      return t.skip(`the npm registry can't be reached: ${stderr.split('\n')[0]}`);
    assert.equal(status, 0, stderr);
    const isPackage = (name: string) => !name.startsWith('.');
    assert.deepEqual(readdirSync(join(folder.path, 'node_modules')).filter(isPackage), ['graceful-super'], 'nothing else is installed');
    assert.match(succeed('npx', ['--no-install', 'graceful-super', '--version'], folder.path), /^\d+\.\d+\.\d+\n$/);
    assert.match(succeed('npx', ['--no-install', 'graceful-super', 'start', '--help'], folder.path), /--drain-timeout +TIME: /);
    writeFileSync(join(folder.path, 'program.mjs'), "import * as all from 'graceful-super';\nconsole.log(Object.keys(all).sort().join());\nall.ready();\n");
    assert.match(succeed(process.execPath, ['program.mjs'], folder.path), /\bonDrain,preflight,ready\b/);
    writeFileSync(
      join(folder.path, 'program.ts'),
      `import { createServer } from 'node:net';
import { handoff, onDrain, ready } from 'graceful-super';
import { handoffWebSockets } from 'graceful-super/ws';
import { WebSocketServer } from 'ws';
onDrain(async ({ reason }) => console.log(reason === 'stop'));
ready();
handoff(createServer(), { export: (socket) => ({ read: socket.bytesRead }), adopt: (_socket, { read }) => console.log(read.toFixed()) });
handoffWebSockets(new WebSocketServer({ noServer: true }), { export: ({ url }) => url, adopt: (_webSocket, url) => console.log(url.length) });
// @ts-expect-error: it takes a function
onDrain(1);
`,
    );
    // what such a user has besides
    mkdirSync(join(folder.path, 'node_modules/@types'));
    for (const name of ['@types/node', '@types/ws', 'ws']) symlinkSync(join(root, 'node_modules', name), join(folder.path, 'node_modules', name));
    const options = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2022', '--types', 'node', '--ignoreConfig'];
    succeed(join(root, 'node_modules/.bin/tsc'), [...options, 'program.ts'], folder.path);
    const bad = run('npx', ['--no-install', 'graceful-super', 'start', './nope.js', '--runtime-dir', join(folder.path, 'run')], folder.path);
    assert.equal(bad.status, 10, bad.stderr);
  });
});
