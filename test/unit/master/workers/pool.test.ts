/** What the master asks of its workers, where no worker answers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type PoolHost, WorkerPool } from '../../../../src/master/workers/pool.ts';

test('a worker that does not answer is not healthy', async () => {
  const pool = new WorkerPool({} as PoolHost);
  const requests = [
    { port: null, path: '/healthz' },
    { port: 80, path: '/' },
  ];
  const failure = await pool.check(7, { requests, statuses: [[200, 299]], timeoutMs: 100 });
  assert.deepEqual(failure, { request: '/healthz, :80/', error: 'no answer within 0.1 s' });
});
