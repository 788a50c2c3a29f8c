import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ask, childrenOf, isRunning, poll, startMaster, temporaryFolder } from '../helpers/rig.ts';

test('A worker whose event loop stands still does not outlive a master that was killed, keeps no port, and no file is left', async () => {
  using folder = temporaryFolder();
  const pidFile = join(folder.path, 'a pid'); // a blank in a path is no end of it
  const flags = ['--kill-timeout', '1s', '--drain-timeout', '10m', '--pid-file', pidFile];
  await using rig = await startMaster({ script: 'blocks-on-request.cjs', runtimeDir: folder.path, flags });
  assert.ok(existsSync(pidFile));
  const [worker] = (await rig.pids()) as [number];
  const blocked = assert.rejects(ask(`${rig.url()}/block`));
  await rig.waitFor(() => rig.stdout.includes('blocks') || undefined, 'the block');
  process.kill(rig.pid, 'SIGKILL');
  await poll(
    () => !isRunning(worker),
    () => 'it is still there',
  );
  await blocked;
  await poll(
    () => readdirSync(folder.path).length === 0,
    () => `left: ${readdirSync(folder.path).join(', ')}`,
  );
});

test('A worker that noticed the end of its master has the drain timeout, whatever the kill timeout is', async () => {
  await using rig = await startMaster({ script: 'http-echo.cjs', flags: ['--kill-timeout', '1ms', '--drain-timeout', '10m', '--linger', '0s'] });
  const slow = ask(`${rig.url()}/?wait=3500`);
  await poll(
    async () => (await rig.status()).workers[0]?.connections === 1,
    () => 'the request does not arrive',
  );
  process.kill(rig.pid, 'SIGKILL');
  assert.equal((await slow).status, 200);
});

test('What watches over the workers is started again when somebody has ended it, and knows all that it knew', async () => {
  using folder = temporaryFolder();
  const flags = ['--kill-timeout', '1s', '--drain-timeout', '10m', '--pid-file', join(folder.path, 'pid')];
  await using rig = await startMaster({ script: 'blocks-on-request.cjs', runtimeDir: folder.path, flags });
  const [worker] = (await rig.pids()) as [number];
  const [first] = guardsOf(rig.pid, [worker]) as [number];
  process.kill(first, 'SIGKILL');
  await poll(
    () => guardsOf(rig.pid, [worker, first]).length === 1,
    () => 'there is no other one',
  );
  await rig.status(); // the master has told it by then
  const blocked = assert.rejects(ask(`${rig.url()}/block`));
  await rig.waitFor(() => rig.stdout.includes('blocks') || undefined, 'the block');
  process.kill(rig.pid, 'SIGKILL');
  await poll(
    () => !isRunning(worker) && readdirSync(folder.path).length === 0,
    () => `left: ${readdirSync(folder.path).join(', ')}`,
  );
  await blocked;
});

test('What somebody has put in the place of a file of a killed master stays', async () => {
  using folder = temporaryFolder();
  const pidFile = join(folder.path, 'pid');
  await using rig = await startMaster({ script: 'http-echo.cjs', flags: ['--pid-file', pidFile, '--linger', '0s'] });
  const workers = await rig.pids();
  const [guard] = guardsOf(rig.pid, workers) as [number];
  writeFileSync(`${pidFile}.new`, 'of somebody else');
  renameSync(`${pidFile}.new`, pidFile);
  process.kill(rig.pid, 'SIGKILL');
  await poll(
    () => !isRunning(guard),
    () => 'it is still looking',
  );
  await rig.gone();
  assert.equal(readFileSync(pidFile, 'utf8'), 'of somebody else');
});

test('What watches over the workers ends with its master', async () => {
  await using rig = await startMaster({ script: 'http-echo.cjs' });
  const workers = await rig.pids();
  const [guard, ...others] = guardsOf(rig.pid, workers);
  assert.ok(guard !== undefined && others.length === 0);
  await rig.stop();
  await poll(
    () => !isRunning(guard),
    () => 'it is still there',
  );
});

function guardsOf(master: number, others: readonly number[]): number[] {
  return childrenOf(master).filter((pid) => !others.includes(pid) && isRunning(pid));
}
