/** A worker whose program executes another one in its place is a worker no more: that is said, and nothing of it is left. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ask, poll, startMaster } from '../helpers/rig.ts';

const script = 'executes-another.cjs';
const flags = ['--kill-timeout', '200ms'];
const skip = 'execve' in process && process.platform === 'linux' ? false : 'process.execve needs Node 22.15 and Linux';
const reason = /became another program \(process\.execve\), which is no worker/;

test('At its start: the start fails and says why, at once', { skip }, async () => {
  await using rig = await startMaster({ script, args: ['start'], flags, waitReady: false });
  const { code, stderr } = await rig.finished;
  assert.equal(code, 40);
  assert.match(stderr, reason);
});

test('While it serves: it is replaced, and ended', { skip }, async () => {
  await using rig = await startMaster({ script, flags });
  const [old = 0] = await rig.pids();
  await ask(`${rig.url()}/execute`).catch(() => {});
  const { message, pid } = await rig.until('worker-crashed');
  assert.equal(pid, old);
  assert.match(message, reason);
  await poll(
    async () => (await ask(rig.url()).catch(() => ({ text: '' }))).text === String((await rig.pids())[0]),
    () => 'nobody serves in its place',
  );
  assert.notEqual((await rig.pids())[0], old);
});
