/** What the master asks of its workers, where no worker answers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Kernel } from '../../../../src/kernel.ts';
import { type PoolHost, WorkerPool } from '../../../../src/master/workers/pool.ts';
import { Timeline } from '../../helpers/simulation/timeline.ts';

test('a worker that does not answer is not healthy', async () => {
  const time = new Timeline();
  const pool = new WorkerPool({ kernel: time as Partial<Kernel> } as PoolHost);
  const requests = [
    { port: null, path: '/healthz' },
    { port: 80, path: '/' },
  ];
  const checked = pool.questions.check(7, { requests, statuses: [[200, 299]], timeoutMs: 100 });
  time.pass(1_100);
  const failure = await checked;
  assert.deepEqual(failure, { request: '/healthz, :80/', error: 'no answer within 0.1 s' });
});
