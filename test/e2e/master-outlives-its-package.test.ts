/** A master needs its package at its start alone: it may be removed with the release that it lies in, or replaced, and everything goes on. */
import assert from 'node:assert/strict';
import { chmodSync, chownSync, copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { commandOf, installPackage } from '../helpers/installation.ts';
import { asNobody, NOBODY } from '../helpers/nobody.ts';
import { ask, childrenOf, fixture, isRunning, poll, runtimeOf, startMaster, temporaryFolder } from '../helpers/rig.ts';

/** Another user has to be had. */
const needsRoot = { skip: process.getuid?.() === 0 ? false : 'needs root' };

test('Removed under a running master, it is missed by nobody: reloads, crashes, threads, configuration, another Node, the log, systemd, status and stop', async () => {
  using folder = temporaryFolder();
  const at = (name: string) => join(folder.path, name);
  const configure = (values: object) => writeFileSync(at('app.config.mjs'), `export default ${JSON.stringify(values)};\n`);
  const told = () => (existsSync(at('told')) ? readFileSync(at('told'), 'utf8').split('\n') : []);
  mkdirSync(at('path'));
  writeFileSync(at('path/systemd-notify'), '#!/bin/sh\nfor line; do echo "$line"; done >> "$TOLD"\n', { mode: 0o755 });
  symlinkSync(process.execPath, at('node'));
  const common = { script: fixture('answers-from-thread.cjs'), node: at('node'), probation: '0s' };
  configure({ ...common, env: { COLOUR: 'red' } });
  await using rig = await startMaster({
    command: commandOf(installPackage(at('one'))),
    flags: ['--config', at('app.config.mjs'), '--backoff-min', '10ms'],
    env: { PATH: `${at('path')}:${process.env['PATH']}`, NOTIFY_SOCKET: at('nobody'), TOLD: at('told') },
    waitReady: false,
  });
  await rig.waitFor(() => (rig.stdout.includes('listening') ? true : undefined), 'the first worker');
  rmSync(at('one'), { recursive: true });

  await rig.until('master-ready');
  const answer = async () => (await ask(rig.url())).text.split(' ');
  const [first, colour] = await answer();
  assert.deepEqual([isRunning(Number(first)), colour], [true, 'red']);
  process.kill(Number(first), 'SIGKILL');
  await rig.until('worker-serving', ({ worker }) => worker === 2);
  assert.notEqual((await answer())[0], first);

  copyFileSync(process.execPath, at('another-node'));
  configure({ ...common, node: at('another-node'), env: { COLOUR: 'blue' } });
  const { outcome, message } = await rig.hup();
  assert.equal(outcome, 'committed', message);
  assert.equal((await answer())[1], 'blue');
  configure({ workers: 'many' });
  assert.match((await rig.hup()).message, /workers in .*app\.config\.mjs: expected/);
  assert.equal((await rig.status()).generation, 2);
  await poll(
    () => told().includes('RELOADING=1') && told().filter((line) => line === 'READY=1').length === 3,
    () => told().join('\n'),
  );
  assert.equal((await rig.stop()).code, 0);
  assert.ok(told().includes('STOPPING=1'));
});

test('Replaced in place, as by an upgrade, it leaves a running master and its workers what they are', async () => {
  using folder = temporaryFolder();
  const installed = installPackage(folder.path);
  const config = join(folder.path, 'app.json');
  const configure = (node: string) => writeFileSync(config, JSON.stringify({ node }));
  configure(process.execPath);
  await using rig = await startMaster({ command: commandOf(installed), script: 'answers-from-thread.cjs', flags: ['--config', config] });
  for (const file of ['worker/preload.cjs', 'cli/entry.cjs', 'cli/winston.cjs', 'cli/execa.cjs'])
    writeFileSync(join(installed, 'dist', file), 'throw new Error("another version");');
  copyFileSync(process.execPath, join(folder.path, 'another-node'));
  configure(join(folder.path, 'another-node')); // to ask it for its version takes a part that was not loaded yet
  const { outcome, message } = await rig.hup();
  assert.equal(outcome, 'committed', message);
  assert.match((await ask(rig.url())).text, /^\d+ $/);
});

test('Its Node may be removed under it, too, where the program has another: a configuration in JavaScript is read at a reload', {
  skip: process.platform !== 'linux',
}, async () => {
  using folder = temporaryFolder();
  const [node, config] = [join(folder.path, 'node'), join(folder.path, 'app.config.mjs')];
  copyFileSync(process.execPath, node);
  const configure = (colour: string) => writeFileSync(config, `export default ${JSON.stringify({ node: process.execPath, env: { COLOUR: colour } })};\n`);
  configure('red');
  const launcher = ['sh', '-c', 'shift; exec "$0" "$@"', node];
  await using rig = await startMaster({ launcher, script: 'answers-from-thread.cjs', flags: ['--config', config] });
  rmSync(node);
  configure('blue');
  const { outcome, message } = await rig.hup();
  assert.equal(outcome, 'committed', message);
  assert.match((await ask(rig.url())).text, /^\d+ blue$/);
});

test('The file that workers load is made again where it vanished, and is gone in the end', async () => {
  await using rig = await startMaster({ script: 'answers-pid.mjs' });
  const file = runtimeOf(rig);
  assert.ok(file);
  rmSync(file);
  assert.equal((await rig.hup())['outcome'], 'committed');
  assert.equal(runtimeOf(rig), file);
  await rig.stop();
  assert.equal(runtimeOf(rig), undefined);
});

test('With its whole folder it is made again at once, for threads of workers that run', needsRoot, async () => {
  using folder = temporaryFolder();
  chmodSync(folder.path, 0o755);
  const runtimeDir = join(folder.path, 'run');
  mkdirSync(runtimeDir, { mode: 0o700 });
  chownSync(runtimeDir, NOBODY, NOBODY);
  await using rig = await startMaster({ launcher: asNobody, command: commandOf(installPackage(folder.path)), script: 'answers-from-thread.cjs', runtimeDir });
  assert.equal(runtimeOf(rig), join(runtimeDir, `graceful-super-worker-${rig.pid}.cjs`));
  rmSync(runtimeDir, { recursive: true });
  mkdirSync(runtimeDir, { mode: 0o700 });
  chownSync(runtimeDir, NOBODY, NOBODY);
  await poll(
    () => runtimeOf(rig) !== undefined,
    () => 'it is not made again',
  );
  assert.match((await ask(rig.url())).text, /^\d+ $/);
  await rig.stop();
  assert.deepEqual(readdirSync(runtimeDir), []);
});

test('Where a group may change what is in the control folder, workers load the file of the package', needsRoot, async () => {
  using folder = temporaryFolder();
  chmodSync(folder.path, 0o755);
  const runtimeDir = join(folder.path, 'run');
  mkdirSync(runtimeDir);
  chmodSync(runtimeDir, 0o770);
  chownSync(runtimeDir, NOBODY, NOBODY);
  await using rig = await startMaster({ launcher: asNobody, command: commandOf(installPackage(folder.path)), script: 'answers-from-thread.cjs', runtimeDir });
  assert.equal(runtimeOf(rig), undefined);
  assert.match((await ask(rig.url())).text, /^\d+ $/);
});

test('Root keeps it where a program that dropped root can still load it, for its threads', needsRoot, async () => {
  const launcher = ['sh', '-c', 'umask 077; exec "$0" "$@"'];
  await using rig = await startMaster({ launcher, script: 'answers-from-thread-of-nobody.cjs' });
  assert.equal((await ask(rig.url())).text, '65534');
});

test('The file that workers load is gone when the master was killed, or else with the next start', async () => {
  using folder = temporaryFolder();
  mkdirSync(join(folder.path, 'run'));
  const options = { script: 'answers-pid.mjs', runtimeDir: join(folder.path, 'run') };
  await using killed = await startMaster(options);
  process.kill(killed.pid, 'SIGKILL');
  await killed.gone();
  assert.equal(runtimeOf(killed), undefined);
  await using shattered = await startMaster(options);
  process.kill(shattered.pid, 'SIGSTOP');
  for (const pid of childrenOf(shattered.pid)) process.kill(pid, 'SIGKILL'); // with what would look after it
  await shattered.kill();
  assert.ok(runtimeOf(shattered));
  await using next = await startMaster(options);
  assert.ok(runtimeOf(next));
  assert.equal(runtimeOf(shattered), undefined);
});
