/** A program that binds as root and is another user from then on: it reloads, is bounded to what that user may do, and leaves nothing behind. */
import assert from 'node:assert/strict';
import { chmodSync, existsSync, lstatSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { needsNobody } from '../helpers/nobody.ts';
import { ask, poll, type Rig, startMaster, temporaryFolder } from '../helpers/rig.ts';

/** A port below 1024 that is free now. */
async function lowPort(port = 1023): Promise<number> {
  const server = createServer();
  const isFree = await new Promise<boolean>((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
  return isFree ? port : lowPort(port - 1);
}

const listenToo = async (rig: Rig, options: object) => (await ask(`${rig.url()}/?${encodeURIComponent(JSON.stringify(options))}`)).text;

test('A program that drops root after it listened reloads; then its workers get nothing that only root could have', needsNobody, async () => {
  using folder = temporaryFolder();
  chmodSync(folder.path, 0o777);
  const port = await lowPort();
  await using rig = await startMaster({ script: 'drops-root.cjs', args: [String(port)] });
  assert.equal((await rig.hup())['outcome'], 'committed');
  assert.match((await ask(rig.url())).text, /^\d+ 65534$/);
  const precious = join(folder.path, 'precious');
  writeFileSync(precious, '', { mode: 0o600 });
  assert.equal(await listenToo(rig, { port: await lowPort(port - 1), host: '127.0.0.1' }), 'EACCES');
  assert.equal(await listenToo(rig, { path: join(folder.path, 'made'), writableAll: true }), 'EACCES');
  assert.match((await rig.until('worker-note')).message, /has dropped root, and asked for 127\.0\.0\.1:\d+ after it was ready: refused/);
  assert.deepEqual([readdirSync(folder.path), lstatSync(precious).mode & 0o777], [['precious'], 0o600]);
  assert.equal(await listenToo(rig, { port: 0, host: '127.0.0.1' }), 'listening'); // as anybody may
});

test('Of a root master that is killed no file is left, though none of its workers may remove one', needsNobody, async () => {
  using folder = temporaryFolder();
  const [pidFile, runtimeDir] = [join(folder.path, 'pid'), join(folder.path, 'run')];
  const flags = ['--pid-file', pidFile];
  const rig = await startMaster({ script: 'drops-root.cjs', args: [String(await lowPort())], flags, runtimeDir });
  const [pid] = await rig.pids(); // it was asked how it is
  await poll(
    () => existsSync(pidFile),
    () => 'no pid file',
  );
  rig.signal('SIGKILL');
  await rig.gone();
  await poll(
    () => !existsSync(pidFile) && readdirSync(runtimeDir).length === 0,
    () => `left of worker ${pid}: ${readdirSync(folder.path)}, ${readdirSync(runtimeDir)}`,
  );
});
