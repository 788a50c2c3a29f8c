import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { freePort } from '../helpers/datagrams.ts';
import { dialHttp, visit } from '../helpers/http.ts';
import { ask, startMaster, temporaryFolder } from '../helpers/rig.ts';

for (const how of ['reload', 'stop'] as const) {
  test(`Work that a request began goes on after its answer, at a ${how}; the worker ends when it is done`, async () => {
    using folder = temporaryFolder();
    const gate = join(folder.path, 'gate');
    await using rig = await startMaster({ script: 'works-on.cjs', args: [gate], flags: ['--linger', '10m'] });
    const pid = (await ask(rig.url())).text;
    if (how === 'reload') await rig.hup();
    else rig.signal('SIGTERM');
    await rig.until('worker-drained');
    writeFileSync(gate, '');
    await rig.until('worker-stopped', ({ exit }) => (exit as { code?: number }).code === 0);
    assert.equal(rig.stdout, `${pid} is done\n`);
  });
}

test('A program that handles no signal and does not end by itself is ended after --linger', async () => {
  await using rig = await startMaster({ script: 'cleans-up.cjs', flags: ['--linger', '100ms'] });
  await rig.hup();
  const { exit, level } = await rig.until('worker-stopped');
  assert.deepEqual([exit, level], [{ reason: 'exit', code: 0 }, 'info']);
});

test('What keeps a program that handles no signal is in the log while it is waited for', async () => {
  await using rig = await startMaster({ script: 'cleans-up.cjs', flags: ['--linger', '1s'] });
  rig.signal('SIGTERM');
  const { level, message } = await rig.until('worker-note');
  assert.equal(level, 'info');
  assert.match(message, /has no SIGTERM listener .*: Timeout; it is waited for, 1 s at most \(--linger\)/);
  assert.equal((await rig.finished).code, 0);
});

test('A job that was ended by SIGTERM gives the code of its program if that has one, else 143, however it comes to its end', async () => {
  for (const [how, code] of [
    ['0', 143],
    ['5', 5],
  ] as const) {
    for (const stays of [[], ['stays']]) {
      const flags = ['--restart', 'never', '--linger', stays.length > 0 ? '100ms' : '10m'];
      await using rig = await startMaster({ script: 'told-to-end.cjs', args: [how, ...stays], flags, waitReady: false });
      assert.equal((await rig.finished).code, code, rig.stderr);
    }
  }
});

test('A stop at which systemd sends SIGTERM to master and workers ends with 0', async () => {
  await using rig = await startMaster({ script: 'works-on.cjs', flags: ['--restart', 'never'] });
  const [worker] = (await rig.pids()) as [number];
  rig.signal('SIGTERM');
  process.kill(worker, 'SIGTERM');
  assert.equal((await rig.finished).code, 0);
});

test('Work does not keep a program from being told, when --linger is over, that its sockets have closed', async () => {
  using folder = temporaryFolder();
  const script = join(folder.path, 'works.cjs');
  writeFileSync(
    script,
    `setInterval(() => {}, 1000);
    require('node:http').createServer((_request, response) => response.end()).on('connection', (socket) => socket.on('close', () => console.log('closed'))).listen(0, '127.0.0.1');`,
  );
  await using rig = await startMaster({ script, flags: ['--linger', '100ms'] });
  using wire = await dialHttp(rig);
  await visit(wire);
  await rig.hup();
  await rig.until('worker-stopped');
  assert.equal(rig.stdout, 'closed\n');
});

test('A worker of code that is rolled back does not wait for an admission that will not come', async () => {
  using folder = temporaryFolder();
  const [first, gate] = [join(folder.path, 'mark-first'), join(folder.path, 'mark-gate')];
  writeFileSync(gate, '');
  const env = { MARK: join(folder.path, 'mark') };
  const flags = ['--workers', '2', '--linger', '10m', '--ready-timeout', '1s'];
  await using rig = await startMaster({ script: 'second-worker-waits.cjs', flags, env });
  for (const path of [first, gate]) rmSync(path);
  assert.equal((await rig.hup())['outcome'], 'rolled-back');
  const [ready] = rig.all('worker-ready');
  for (const { pid } of rig.all('worker-spawned')) if (pid !== ready?.['pid']) process.kill(pid as number, 'SIGKILL');
  await rig.until('worker-stopped', ({ pid }) => pid === ready?.['pid']);
});

for (const [listens, hears] of [
  [['message', 'SIGINT', 'SIGTERM'], 'SIGTERM'],
  [['message', 'SIGINT'], 'SIGINT'],
  [['message'], 'shutdown'],
] as const) {
  test(`A program that listens to ${listens.join(', ')} cleans up at ${hears}, and 143 is no complaint`, async () => {
    await using rig = await startMaster({ script: 'cleans-up.cjs', args: listens });
    const [pid] = await rig.pids();
    await rig.hup();
    const { exit, level, message } = await rig.until('worker-stopped');
    assert.equal(rig.stdout, `${pid} hears ${hears}\n`);
    assert.deepEqual([exit, level], [{ reason: 'exit', code: 143 }, 'info']);
    assert.match(message, /has ended$/);
  });
}

for (const which of ['server', 'socket']) {
  test(`What a program throws when it hears that its ${which} is closed is its own error, and ends it`, async () => {
    await using rig = await startMaster({ script: 'throws-at-close.cjs', args: [which, String(await freePort())] });
    const [pid = 0] = await rig.pids();
    process.kill(pid, 'SIGUSR2');
    assert.match((await rig.until('worker-crashed')).message, new RegExp(`of the ${which}`));
  });
}
