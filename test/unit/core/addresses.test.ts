/** Where a program listens: what a reload may not lose, and whose listeners are kept. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { custodyOf } from '../../../src/core/custody.ts';
import type { Policy } from '../../../src/core/event.ts';
import { policyWith } from '../helpers/policy.ts';
import { Story } from '../helpers/story.ts';

const SETTLE_MS = 500;
const [web, admin] = ['127.0.0.1:80', 'unix:/run/admin.sock'];

/** Generation 1 (worker 1) serves on these; generation 2 (worker 2) serves on those, at the same moment. */
function reloaded(before: readonly string[], after: readonly string[], changes: Partial<Policy> = {}, dropped: readonly string[] = []): Story {
  const story = new Story(policyWith({ probationMs: 0, settleMs: SETTLE_MS, ...changes }));
  story.reload();
  story.resolve();
  listens(story, 1, before);
  story.serveAll();
  story.nextTick();
  story.reload();
  story.resolve(story.policy, dropped);
  listens(story, 2, after);
  story.serveAll();
  return story;
}

function listens(story: Story, worker: number, addresses: readonly string[]): void {
  story.tell({ type: 'worker-addresses', worker, addresses });
}

describe('a reload that would leave an address of the old code without anybody', () => {
  test('waits for it, and commits when the new code has it', () => {
    const story = reloaded([web, admin], [web]);
    assert.equal(story.fleet.generation, 1);
    listens(story, 2, [web, admin]);
    assert.equal(story.fleet.generation, 2);
  });

  test('fails when the new code has had its time, and says which address', () => {
    const story = reloaded([web, admin], [web]);
    story.nextTick();
    assert.deepEqual(
      story.told('reload-finished').map((told) => told.outcome === 'rolled-back' && told.failure),
      [{ reason: 'address-gone', addresses: [admin] }],
    );
    assert.deepEqual(story.ids('serving'), [1]);
  });

  test('asks for nothing until then: no time that is past is waited for', () => {
    const story = reloaded([web], [], { probationMs: 100 });
    story.nextTick();
    assert.deepEqual([story.fleet.generation, story.effects], [1, []]);
    story.nextTick();
    assert.equal(story.told('reload-finished').length, 1);
  });

  for (const [why, changes, dropped] of [
    ['it may', { allowsAddressChange: true }, []],
    ['the configuration does not name it any more', {}, [admin]],
  ] as const) {
    test(`commits at once where ${why}`, () => assert.equal(reloaded([web, admin], [web], changes, dropped).fleet.generation, 2));
  }

  test('commits at once where that was asked for with it, and where the old code comes back', () => {
    const story = reloaded([web], [web]);
    story.retire(1);
    story.exit(1);
    story.ask({ type: 'reload-requested', allowsAddressChange: true });
    story.resolve();
    story.serveAll();
    assert.equal(story.fleet.generation, 3);
    listens(story, 3, [admin]);
    story.retire(2);
    story.exit(2);
    story.rollBack();
    story.resolve();
    story.serveAll();
    assert.equal(story.fleet.generation, 4);
  });

  test('needs one worker of the new code that has it, not each', () => {
    const story = new Story(policyWith({ probationMs: 0, settleMs: SETTLE_MS, workers: 2 }));
    story.reload();
    story.resolve();
    for (const worker of [1, 2]) listens(story, worker, [web, admin]);
    story.serveAll();
    story.reload();
    story.resolve();
    listens(story, 3, [web]);
    listens(story, 4, [admin]);
    story.serveAll();
    assert.equal(story.fleet.generation, 2);
  });

  test('is none where the old code has closed it, or opened it later than a start takes', () => {
    const closed = reloaded([web, admin], [web]);
    listens(closed, 1, [web]);
    assert.equal(closed.fleet.generation, 2);
    const story = new Story(policyWith({ probationMs: 0, settleMs: SETTLE_MS })).started();
    story.nextTick();
    listens(story, 1, [admin]);
    story.reload();
    story.resolve();
    story.serveAll();
    assert.equal(story.fleet.generation, 2);
  });
});

describe('custody', () => {
  test('a reload is on the way to what the old code has, until it has committed and its workers have settled', () => {
    const story = reloaded([web], [web]);
    assert.deepEqual(custodyOf(story.fleet), { generations: [1, 2], workers: [2], isAwaited: true });
    story.nextTick();
    assert.deepEqual(custodyOf(story.fleet), { generations: [1, 2], workers: [2], isAwaited: false });
  });

  test('a replacement is on the way to what a dead worker had', () => {
    const story = new Story(policyWith({ settleMs: SETTLE_MS })).started();
    story.nextTick();
    assert.equal(custodyOf(story.fleet).isAwaited, false);
    story.exit(1);
    assert.deepEqual(custodyOf(story.fleet), { generations: [1], workers: story.ids('starting'), isAwaited: true });
    story.serveAll();
    assert.equal(custodyOf(story.fleet).isAwaited, true);
    story.tick(story.now + SETTLE_MS);
    assert.equal(custodyOf(story.fleet).isAwaited, false);
  });
});
