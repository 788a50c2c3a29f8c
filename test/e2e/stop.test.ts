import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ask, poll, startMaster, temporaryFolder } from '../helpers/rig.ts';

test('While the master stops, what is open is finished, and whoever connects is refused rather than left waiting', async () => {
  using folder = temporaryFolder();
  const socket = join(folder.path, 'idle.sock');
  await using rig = await startMaster({ script: 'http-echo.cjs', flags: ['--listen', `unix:${socket}`] });
  const url = `http://${rig.addresses().find((address) => address.startsWith('127.'))}`;
  let isAnswered = false;
  const slow = ask(`${url}/?wait=4000`).finally(() => {
    isAnswered = true;
  });
  await ask(url);
  rig.signal('SIGTERM');
  const codeOf = (error: NodeJS.ErrnoException) => error.code;
  await poll(
    async () => (await ask(url).then(() => 'answered', codeOf)) === 'ECONNREFUSED',
    () => 'still accepted or left waiting',
  );
  assert.equal(isAnswered, false, 'refused at once, not when everything is over');
  assert.equal(existsSync(socket), false);
  assert.equal((await slow).status, 200);
  assert.equal((await rig.finished).code, 0);
});

test('A stop answers the reload that it abandons', async () => {
  using folder = temporaryFolder();
  await using rig = await startMaster({ script: 'waits-for-file.cjs', env: { GATE: join(folder.path, 'gate') }, waitReady: false });
  await rig.until('worker-spawned');
  const reload = rig.command('reload');
  await rig.until('reload-queued');
  rig.signal('SIGTERM');
  const { code, stderr } = await reload;
  assert.equal(code, 41);
  assert.match(stderr, /abandoned: the master is stopping/);
  assert.equal((await rig.finished).code, 0);
});
