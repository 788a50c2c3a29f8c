/** The path of a Unix socket leads to the service as long as it serves there, whatever the program or somebody else does to it. */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, lstatSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { ask, fixture, poll, type Rig, startMaster, temporaryFolder } from '../helpers/rig.ts';

const script = 'unlinks-first.cjs';

for (const workers of [1, 2]) {
  test(`A program that unlinks its path before it listens is reached after a start, a reload, a failed one and a crash: workers: ${workers}`, async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, 'web.sock');
    await using rig = await startMaster({ script, args: [path], flags: ['--workers', String(workers)] });
    await isReached(rig, path);
    assert.equal((await rig.hup())['outcome'], 'committed');
    await isReached(rig, path);
    const [pid = 0] = await rig.pids();
    rig.forget();
    process.kill(pid, 'SIGKILL');
    await rig.until('worker-serving');
    await isReached(rig, path);
    await rig.stop();
    assert.deepEqual(readdirSync(folder.path), []);
  });
}

test('A program that unlinks its path on its way out does not take it from its successor', async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'web.sock');
  await using rig = await startMaster({ script, args: [path, 'at-exit'] });
  await rig.hup();
  await rig.until('generation-gone');
  await isReached(rig, path);
});

test('A reload of code that unlinks the path and fails leaves the old code reachable', async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'web.sock');
  const app = join(folder.path, 'app.cjs');
  writeFileSync(app, `require(${JSON.stringify(fixture(script))})`);
  await using rig = await startMaster({ script: app, args: [path] });
  writeFileSync(app, `require('node:fs').rmSync(${JSON.stringify(path)}); throw new Error('bad code');`);
  assert.equal((await rig.hup())['outcome'], 'rolled-back');
  await isReached(rig, path);
});

test('A path that somebody removes is there again, and said', async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'web.sock');
  await using rig = await startMaster({ script, args: [path] });
  const { ino } = statSync(path);
  rmSync(path);
  await rig.until('path-restored');
  assert.equal(statSync(path).ino, ino);
  await isReached(rig, path);
});

test('Where both names of a socket are removed, that is said, and a reload binds it anew', async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'web.sock');
  await using rig = await startMaster({ script, args: [path] });
  const spare = join(folder.path, '.web.sock.graceful-super');
  process.kill(rig.pid, 'SIGSTOP');
  rmSync(path);
  rmSync(spare);
  process.kill(rig.pid, 'SIGCONT');
  assert.equal((await rig.until('path-lost'))['state'], 'gone');
  assert.equal((await rig.hup())['outcome'], 'committed');
  await isReached(rig, path);
});

test('A path that leads to somebody else is left to them, and said; a reload that would serve there fails', async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'web.sock');
  await using rig = await startMaster({ script: 'answers-on-path.cjs', args: [path] });
  const other = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => other.listen(`${path}.new`, resolve));
  renameSync(`${path}.new`, path);
  assert.equal((await rig.until('path-lost'))['state'], 'taken');
  assert.equal((await rig.hup())['outcome'], 'rolled-back');
  assert.equal(lstatSync(path).isSocket(), true);
  await rig.stop();
  assert.equal(existsSync(path), true);
  await new Promise((resolve) => other.close(resolve));
});

test("A Unix socket has the rights that the program's umask leaves, from the start and when it changes", async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'web.sock');
  const file = join(folder.path, 'settings.json');
  const configure = (mask: string) => writeFileSync(file, JSON.stringify({ script: fixture(script), args: [path], env: { MASK: mask } }));
  configure('007');
  await using rig = await startMaster({ flags: ['--config', file] });
  assert.equal(statSync(path).mode & 0o777, 0o770);
  await rig.hup();
  assert.equal(statSync(path).mode & 0o777, 0o770);
  configure('077');
  await rig.hup();
  assert.equal(statSync(path).mode & 0o777, 0o700);
});

test('A second master does not take the path of one whose program is still starting', async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'web.sock');
  const gate = join(folder.path, 'gate');
  await using rig = await startMaster({ script: 'waits-for-file.cjs', env: { GATE: gate }, flags: ['--listen', `unix:${path}`], waitReady: false });
  await poll(
    () => existsSync(path),
    () => 'the path is not there',
  );
  await using second = await startMaster({ script: 'answers-pid.mjs', flags: ['--listen', `unix:${path}`], waitReady: false });
  const { code, stderr } = await second.finished;
  assert.notEqual(code, 0);
  assert.match(stderr, /address already in use/);
  writeFileSync(gate, '');
  await rig.until('master-ready');
});

test('A socket of a master that was killed with its workers is replaced, with its second name', async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'web.sock');
  const made = `const s = require('net').createServer().listen(${JSON.stringify(path)}, () => {
    require('fs').linkSync(${JSON.stringify(path)}, ${JSON.stringify(join(folder.path, '.web.sock.graceful-super'))}); process.kill(process.pid, 'SIGKILL'); })`;
  await new Promise((resolve) => execFile(process.execPath, ['-e', made]).once('exit', resolve));
  await using rig = await startMaster({ script: 'answers-on-path.cjs', args: [path] });
  await isReached(rig, path);
  await rig.stop();
  assert.deepEqual(readdirSync(folder.path), []);
});

async function isReached(rig: Rig, path: string): Promise<void> {
  const { text } = await ask('http://localhost', { socketPath: path });
  assert.ok((await rig.pids()).includes(Number(text)), `answered by ${text}`);
}

test('A path that no address can hold fails, or is cut off, as without a supervisor', async () => {
  for (const length of [108, 109, 200, 5000]) {
    using folder = temporaryFolder();
    const path = join(folder.path, 'p'.repeat(length - folder.path.length - 1));
    const file = join(folder.path, 'options.json');
    writeFileSync(file, JSON.stringify([{ path }, { port: 0 }]));
    const plain = spawn(process.execPath, [fixture('listens.cjs'), file], { stdio: ['ignore', 'pipe', 'inherit'] });
    const ended = once(plain, 'close');
    const outcome: string[] = [];
    for await (const line of createInterface({ input: plain.stdout })) if (outcome.push(line) === 2) plain.kill();
    await ended;
    for (const name of readdirSync(folder.path)) if (name.startsWith('p')) rmSync(join(folder.path, name));
    await using rig = await startMaster({ script: 'listens.cjs', args: [file] });
    await rig.waitFor(() => rig.stdout.trimEnd().split('\n').length === 2 || undefined, 'both outcomes');
    const ofPath = (lines: readonly string[]) => lines.map((line) => ({ ...(JSON.parse(line) as { index: number }), pid: 0 })).find(({ index }) => index === 0);
    assert.deepEqual(ofPath(rig.stdout.trimEnd().split('\n')), ofPath(outcome), String(length));
  }
});
