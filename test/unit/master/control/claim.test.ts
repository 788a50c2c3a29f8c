/** A name belongs to one living master. */
import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readlinkSync, renameSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { GracefulError } from '../../../../src/errors.ts';
import { claimName, releaseClaim } from '../../../../src/master/control/claim.ts';
import { isAnswered } from '../../../../src/unix-socket.ts';
import { type Folder, makeFolder } from '../../helpers/folder.ts';

const CONTENDER = fileURLToPath(new URL('../../helpers/contender.ts', import.meta.url));

/** The lock of a master that died: a socket that nobody listens on. */
async function leaveStaleLock(folder: Folder): Promise<void> {
  const lock = join(folder.path, 'app.lock');
  mkdirSync(lock);
  const server = createServer().listen(join(folder.path, 'living'));
  await once(server, 'listening');
  renameSync(join(folder.path, 'living'), join(lock, 'dead'));
  server.close();
  await once(server, 'close');
  assert.deepEqual(readdirSync(lock), ['dead']);
}

async function failToClaim(folder: string, name = 'app'): Promise<GracefulError> {
  const result = await claimName(folder, name).catch((error: unknown) => error);
  assert.ok(result instanceof GracefulError, String(result));
  return result;
}

function startContender(folder: Folder, count: number): ChildProcess {
  return fork(CONTENDER, [folder.path, String(count)], { execArgv: ['--import', 'tsx'] });
}

test('a name that is free is ours, and answers on its socket', async () => {
  using folder = makeFolder();
  const claim = await claimName(folder.path, 'app');
  assert.equal(claim.socketPath, join(folder.path, 'app.sock'));
  assert.equal(await isAnswered(claim.socketPath), true);
  releaseClaim(claim);
});

test('a second claim is refused, and disturbs nothing', async () => {
  using folder = makeFolder();
  const claim = await claimName(folder.path, 'app');
  const before = readdirSync(folder.path);
  const error = await failToClaim(folder.path);
  assert.equal(error.code, 'already-running');
  assert.match(error.message, /"app" is already running/);
  assert.deepEqual(readdirSync(folder.path), before);
  assert.equal(await isAnswered(claim.socketPath), true);
  releaseClaim(claim);
});

test('two names live beside each other', async () => {
  using folder = makeFolder();
  const one = await claimName(folder.path, 'one');
  const two = await claimName(folder.path, 'two');
  releaseClaim(one);
  assert.equal(await isAnswered(two.socketPath), true);
  releaseClaim(two);
});

test('a name that is given back leaves the folder empty, and is free again', async () => {
  using folder = makeFolder();
  for (let time = 0; time < 2; time++) {
    releaseClaim(await claimName(folder.path, 'app'));
    assert.deepEqual(readdirSync(folder.path), []);
  }
});

test('the entry of a dead owner is replaced', async () => {
  using folder = makeFolder();
  await leaveStaleLock(folder);
  const claim = await claimName(folder.path, 'app');
  assert.equal(readdirSync(join(folder.path, 'app.lock')).includes('dead'), false);
  assert.equal(join(folder.path, readlinkSync(claim.socketPath)), claim.files[1]?.path);
  releaseClaim(claim);
  assert.deepEqual(readdirSync(folder.path), []);
});

test('what an owner that was killed leaves behind is replaced', async () => {
  using folder = makeFolder();
  const owner = startContender(folder, 1);
  await once(owner, 'message');
  owner.send('claim');
  assert.deepEqual(await once(owner, 'message'), [['won'], undefined]);
  assert.equal((await failToClaim(folder.path)).code, 'already-running');
  owner.kill('SIGKILL');
  await once(owner, 'exit');
  releaseClaim(await claimName(folder.path, 'app'));
  assert.deepEqual(readdirSync(folder.path), []);
});

test('of 20 contenders at the same moment on a stale lock, exactly one wins', async () => {
  using folder = makeFolder();
  await leaveStaleLock(folder);
  const processes = Array.from({ length: 4 }, () => startContender(folder, 5));
  await Promise.all(processes.map((contender) => once(contender, 'message')));
  const answers = processes.map((contender) => once(contender, 'message'));
  for (const contender of processes) contender.send('claim');
  const results = (await Promise.all(answers)).flatMap(([result]) => result as string[]);
  assert.deepEqual(results.sort(), [...Array(19).fill('already-running'), 'won']);
  assert.deepEqual(readdirSync(folder.path).sort(), ['app.lock', 'app.sock']);
  const exits = processes.map((contender) => once(contender, 'exit'));
  for (const contender of processes) contender.send('release');
  await Promise.all(exits);
  assert.deepEqual(readdirSync(folder.path), []);
});

test('a path that no socket can have is told as such, and nothing is made', async () => {
  using folder = makeFolder();
  const deep = join(folder.path, 'x'.repeat(100));
  const error = await failToClaim(deep);
  assert.equal(error.code, 'control-folder-unwritable');
  assert.match(error.message, /^the path of the control socket is too long: /);
  assert.deepEqual(readdirSync(folder.path), []);
});

test('nobody is alive behind what is no socket, or is not there', async () => {
  using folder = makeFolder();
  assert.equal(await isAnswered(folder.write('file', '')), false);
  assert.equal(await isAnswered(join(folder.path, 'missing')), false);
});
