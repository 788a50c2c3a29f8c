import assert from 'node:assert/strict';
import { test } from 'node:test';
import { abandon, enqueue, MOST_QUEUED } from '../../../src/core/queue.ts';
import type { Request } from '../../../src/core/reload.ts';
import { policyWith } from '../helpers/policy.ts';
import { Story } from '../helpers/story.ts';

const awaited = (id: number, more: Partial<Request> = {}): Request => ({ id, by: 'test', isAwaited: true, ...more });
const signal = (id: number): Request => ({ id, by: 'SIGHUP', isAwaited: false });
const canary = { workers: 1, holdMs: null };

function queueOf(...requests: readonly Request[]): number[] {
  return requests.reduce<readonly Request[]>(enqueue, []).map(({ id }) => id);
}

test('What nobody waits for is kept once, what somebody waits for each time', () => {
  assert.equal(queueOf(signal(1), signal(2), signal(3)).length, 1);
  assert.deepEqual(queueOf(signal(1), awaited(2), awaited(3), signal(4)), [2, 3]);
});

test('Requests for something else keep their place', () => {
  assert.deepEqual(queueOf(signal(1), awaited(2, { canary }), signal(3), signal(4)), [1, 2, 4]);
});

test('Of callers that have left one request is kept: what they asked for is done', () => {
  const queued = [1, 2, 3].reduce<readonly Request[]>(abandon, [awaited(1), awaited(2), awaited(3)]);
  assert.equal(queued.length, 1);
});

test('Callers behind a canary that is held cost nothing once they have left; and more than a thousand are refused', () => {
  const story = new Story(policyWith({ workers: 2 })).started();
  story.reload(canary);
  story.resolve();
  story.serveAll();
  for (let count = 0; count < 5000; count++) story.tell({ type: 'caller-left', request: story.reload() });
  assert.equal(story.fleet.queued.length, 1);
  for (let count = 0; count < MOST_QUEUED; count++) story.reload();
  story.reload();
  assert.equal(story.fleet.queued.length, MOST_QUEUED);
  assert.deepEqual(
    story.told('request-refused').map(({ reason }) => reason),
    ['too-many-wait'],
  );
});
