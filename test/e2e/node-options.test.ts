/** NODE_OPTIONS reach the master, what it runs to ask something, and the program: each as the user means them. */
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { ask, fixture, type Rig, startMaster, temporaryFolder } from '../helpers/rig.ts';

type Told = { readonly env: Readonly<Record<string, string>>; readonly execPath: string };
const tell = async (rig: Rig) => JSON.parse((await ask(rig.url())).text) as Told;

/** A port that nobody has, at the moment. */
function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

test('Relative paths lead to the same files at the start and at each reload, for a configuration in JavaScript and another Node, too', async () => {
  using folder = temporaryFolder();
  const at = (name: string) => join(folder.path, name);
  writeFileSync(at('traces.cjs'), 'process.env.TRACED ??= "yes"; console.log("traced");\n');
  writeFileSync(at('colour.txt'), 'red');
  writeFileSync(at('app.mjs'), 'import { readFileSync } from "node:fs"; export default { env: { COLOUR: readFileSync("colour.txt", "utf8") } };\n');
  symlinkSync(process.execPath, at('node'));
  const options = { script: fixture('tells-itself.cjs'), cwd: folder.path, flags: ['--config', './app.mjs', '--node', './node'] };
  await using rig = await startMaster({ ...options, env: { NODE_OPTIONS: '--require ./traces.cjs' } });
  rmSync(at('node'));
  copyFileSync(process.execPath, at('node'));
  writeFileSync(at('colour.txt'), 'blue');
  const { outcome, message } = await rig.hup();
  assert.equal(outcome, 'committed', message);
  const { env, execPath } = await tell(rig);
  assert.deepEqual([env['COLOUR'], env['TRACED'], execPath], ['blue', 'yes', at('node')]);

  rmSync(at('traces.cjs'));
  const failed = (await rig.hup()).message;
  assert.match(failed, /app\.mjs: Node does not start with NODE_OPTIONS="--require \.\/traces\.cjs" in \S+: Error: Cannot find module '\.\/traces\.cjs'/);
});

test('A configuration in JavaScript is read where the folder of the start was removed, too', async () => {
  using folder = temporaryFolder();
  const [cwd, app] = [join(folder.path, 'start'), join(folder.path, 'app.mjs')];
  mkdirSync(cwd);
  const configure = (colour: string) => writeFileSync(app, `export default { cwd: '/', env: { COLOUR: '${colour}' } };\n`);
  configure('red');
  await using rig = await startMaster({ script: fixture('tells-itself.cjs'), cwd, flags: ['--config', app] });
  rmSync(cwd, { recursive: true });
  configure('blue');
  const { outcome, message } = await rig.hup();
  assert.equal(outcome, 'committed', message);
  assert.equal((await tell(rig)).env['COLOUR'], 'blue');
});

test('The port of an inspector is the program’s: the master leaves it', async () => {
  const port = await freePort();
  await using rig = await startMaster({ script: 'tells-inspector.cjs', env: { NODE_OPTIONS: `--inspect=127.0.0.1:${port}` } });
  assert.match((await ask(rig.url())).text, new RegExp(`^ws://127\\.0\\.0\\.1:${port}/`));
});

test('A configuration in JavaScript waits for no debugger', async () => {
  using folder = temporaryFolder();
  writeFileSync(join(folder.path, 'app.mjs'), 'export default { env: { GIVEN: process.env.NODE_OPTIONS } };\n');
  const file = join(folder.path, 'app.mjs');
  await using rig = await startMaster({ script: 'tells-itself.cjs', flags: ['--config', file], env: { NODE_OPTIONS: '--inspect=127.0.0.1:0 --no-warnings' } });
  assert.equal((await tell(rig)).env['GIVEN']?.trim(), '--no-warnings');
});
