/** What the master asks of its workers, where no worker answers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Crew, type CrewHost } from '../../../src/master/crew.ts';

test('a worker that does not answer is not healthy', async () => {
  const crew = new Crew({} as CrewHost);
  const requests = [
    { port: null, path: '/healthz' },
    { port: 80, path: '/' },
  ];
  const failure = await crew.check(7, { requests, statuses: [[200, 299]], timeoutMs: 100 });
  assert.deepEqual(failure, { request: '/healthz, :80/', error: 'no answer within 0.1 s' });
});
