import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ask, startMaster } from '../helpers/rig.ts';

test('No connection is refused while every worker is SIGKILLed: clients are served by the successors', async () => {
  await using rig = await startMaster({ script: 'http-echo.cjs', flags: ['--workers', '2', '--restart-limit', '1000'] });
  const killed = new Set<number>();
  for (let round = 0; round < 5; round++) {
    rig.forget();
    for (const pid of await rig.pids()) {
      killed.add(pid);
      process.kill(pid, 'SIGKILL');
    }
    // nobody accepts now: these wait in the kernel for whoever comes
    await rig.waitFor(() => (rig.all('worker-crashed').length === 2 ? true : undefined), 'both ends');
    const answers = await Promise.all(Array.from({ length: 30 }, () => ask(rig.url())));
    for (const { status, text } of answers) {
      assert.equal(status, 200);
      assert.ok(!killed.has((JSON.parse(text) as { pid: number }).pid));
    }
    await rig.waitFor(() => (rig.all('worker-serving').length === 2 ? true : undefined), 'both successors');
  }
});

test('No connection is refused while a worker is stopped and continued during a reload', async () => {
  await using rig = await startMaster({ script: 'http-echo.cjs', flags: ['--kill-timeout', '1s', '--drain-timeout', '1s'] });
  const [pid] = await rig.pids();
  process.kill(pid as number, 'SIGSTOP');
  rig.forget();
  rig.signal('SIGHUP');
  await rig.until('reload-committed');
  assert.equal((await ask(rig.url())).status, 200);
  const { outcome } = await rig.until('reload-finished');
  assert.equal(outcome, 'committed', 'a worker that can’t hear is ended, and the reload with it');
});
