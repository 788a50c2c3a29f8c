/** Canaries, rollbacks, scaling, recycling, completion and giving up, told step by step. Worker ids and generations count from 1. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Exit, Policy } from '../../../src/core/event.ts';
import { nextDeadline } from '../../../src/core/fleet.ts';
import { policyWith } from '../helpers/policy.ts';
import { Story } from '../helpers/story.ts';
import { codeOne, codeZero, unhealthy } from '../helpers/worker-events.ts';

function running(changes: Partial<Policy> = {}): Story {
  return new Story(policyWith(changes)).started();
}

/** A first start whose workers are starting. */
function starting(changes: Partial<Policy>): Story {
  const story = new Story(policyWith(changes));
  story.reload();
  story.resolve();
  return story;
}

/** Generation 2 commits, its requests are answered, and the old workers are gone. */
function reloaded(story: Story, policy?: Policy): Story {
  story.reload();
  story.resolve(policy);
  story.serveAll();
  const old = story.ids('draining');
  story.retire(...old);
  story.exit(...old);
  return story;
}

/** Two workers serve; one of generation 2 (worker 3) serves beside them. */
function holding(holdMs: number | null = null, changes: Partial<Policy> = {}): Story {
  const story = running({ workers: 2, ...changes });
  story.reload({ workers: 1, holdMs });
  story.resolve();
  story.serveAll();
  return story;
}

function finish(story: Story, worker: number, exit: Exit = codeZero): void {
  story.tell({ type: 'worker-exited', worker, exit, chance: 1, moved: {} });
}

function drained(story: Story): number[] {
  return story.effectsOf('drain').map(({ worker }) => worker);
}

function spawned(story: Story): number[] {
  return story.effectsOf('spawn').map(({ worker }) => worker);
}

function refusals(story: Story): string[] {
  return story.told('request-refused').map(({ request, reason }) => `${request} ${reason}`);
}

describe('a canary', () => {
  test('serves beside the old workers until its time is over, then the rest follows', () => {
    const story = holding(400);
    assert.deepEqual(story.told('reload-holding'), [{ type: 'reload-holding', generation: 2, requests: [2], workers: 1, holdMs: 400 }]);
    assert.deepEqual(story.ids('serving'), [1, 2, 3]);
    story.tick(399);
    assert.deepEqual(story.effects, []);
    story.nextTick();
    assert.deepEqual(spawned(story), [4]);
    story.serveAll();
    assert.deepEqual(drained(story), [1, 2]);
  });

  test('without an end waits for somebody, who is answered with the reload', () => {
    const story = holding();
    assert.equal(nextDeadline(story.fleet), Number.POSITIVE_INFINITY);
    const promotion = story.promote();
    assert.deepEqual(story.told('reload-promoted'), [{ type: 'reload-promoted', generation: 2, by: 'test' }]);
    story.serveAll();
    story.retire(1, 2);
    assert.deepEqual(story.told('reload-finished')[0]?.requests, [2, promotion]);
  });

  test('as large as its generation is proved as soon as its time is over', () => {
    const story = running({ probationMs: 300 });
    story.reload({ workers: 5, holdMs: 400 });
    story.resolve();
    story.serveAll();
    story.tick(400);
    assert.equal(story.fleet.reload.phase, 'proving');
    story.tick(700);
    assert.equal(story.fleet.generation, 2);
  });

  test('that fails one health check is rolled back', () => {
    const story = holding();
    story.tell({ type: 'worker-checked', worker: 3, failure: unhealthy });
    const [outcome] = story.told('reload-finished');
    assert.deepEqual(outcome?.outcome === 'rolled-back' && [outcome.failure, outcome.worker], [{ reason: 'unhealthy', ...unhealthy }, 3]);
    assert.deepEqual(drained(story), [3]);
  });

  test('can not be promoted before it serves, nor where there is none', () => {
    const story = running();
    story.promote();
    assert.deepEqual(refusals(story), ['2 no-canary']);
    story.reload({ workers: 1, holdMs: null });
    story.promote();
    assert.deepEqual(refusals(story), ['4 no-canary']);
  });

  test('makes no difference to a first start', () => {
    const story = new Story(policyWith({ workers: 2 }));
    story.reload({ workers: 1, holdMs: null });
    story.resolve();
    story.serveAll();
    assert.deepEqual(story.ids('serving', 1), [1, 2]);
    assert.equal(story.fleet.generation, 1);
  });
});

describe('a rollback', () => {
  test('ends the reload under way and answers all who wait, who asked for it last', () => {
    const story = holding();
    const waiting = story.reload();
    const asked = story.rollBack();
    const [outcome, ...more] = story.told('reload-finished');
    assert.deepEqual(more, []);
    assert.deepEqual(outcome?.requests, [2, waiting, asked]);
    assert.deepEqual(outcome?.outcome === 'rolled-back' && outcome.failure, { reason: 'asked', by: 'test' });
    assert.deepEqual([drained(story), story.told('reload-started')], [[3], []]);
  });

  test('brings back the generation before, and once more the one before that', () => {
    const story = reloaded(running());
    story.rollBack();
    assert.deepEqual(story.effectsOf('resolve'), [{ type: 'resolve', generation: 3, from: 1 }]);
    story.resolve();
    story.serveAll();
    story.exit(2);
    story.rollBack();
    assert.deepEqual(story.effectsOf('resolve'), [{ type: 'resolve', generation: 4, from: 2 }]);
  });

  test('is refused where there is nothing to go back to', () => {
    const story = running();
    story.rollBack();
    assert.deepEqual(refusals(story), ['2 nothing-to-roll-back']);
  });

  test('is refused after a reload that came to nothing', () => {
    const story = reloaded(running());
    story.reload();
    story.reject();
    story.rollBack();
    assert.deepEqual(refusals(story), ['4 already-rolled-back']);
  });

  test('at the end of a reload refuses who waits for new code, and comes before who asks for it later', () => {
    const story = running();
    story.reload();
    story.resolve();
    story.serveAll();
    const overtaken = story.reload();
    const first = story.rollBack();
    assert.deepEqual(refusals(story), [`${overtaken} overtaken`]);
    const later = story.reload();
    const again = story.rollBack();
    assert.deepEqual(refusals(story), [`${later} overtaken`]);
    const last = story.reload();
    story.exit(1);
    assert.deepEqual(story.told('reload-started')[0]?.requests, [first, again]);
    assert.deepEqual(story.effectsOf('resolve'), [{ type: 'resolve', generation: 3, from: 1 }]);
    story.resolve();
    story.serveAll();
    story.exit(2);
    assert.deepEqual(story.told('reload-started')[0]?.requests, [last]);
    assert.deepEqual(story.effectsOf('resolve'), [{ type: 'resolve', generation: 4, from: null }]);
  });

  test('and a promotion are refused when the master stops', () => {
    const story = running();
    story.stop();
    story.rollBack();
    assert.deepEqual(refusals(story), ['2 stopping']);
    story.promote();
    assert.deepEqual(refusals(story), ['3 stopping']);
  });
});

describe('scaling', () => {
  test('up starts what is missing, and is answered when all serve', () => {
    const story = running();
    const asked = story.scale({ by: 2 });
    assert.deepEqual(story.told('scale-started'), [{ type: 'scale-started', from: 1, to: 3, by: 'test' }]);
    assert.deepEqual(spawned(story), [2, 3]);
    story.serveAll();
    assert.deepEqual(story.told('scale-finished'), [{ type: 'scale-finished', workers: 3, requests: [asked], failure: null }]);
    assert.equal(story.fleet.restarts, 0);
  });

  test('down drains the newest, those first that do not serve yet, and is answered when they have handed over', () => {
    const story = running({ workers: 3 });
    story.exit(1);
    story.scale({ to: 2 });
    assert.deepEqual(drained(story), [4]);
    story.scale({ to: 1 });
    assert.deepEqual(drained(story), [3]);
    story.retire(4);
    assert.deepEqual(story.told('scale-finished'), []);
    story.retire(3);
    assert.deepEqual(story.told('scale-finished'), [{ type: 'scale-finished', workers: 1, requests: [2, 3], failure: null }]);
  });

  test('down takes one that does not serve yet before a newer one that does', () => {
    const story = running({ workers: 2 });
    story.exit(1);
    story.scale({ by: 1 });
    story.ready(4);
    story.accept(4);
    story.scale({ by: -1 });
    assert.deepEqual(drained(story), [3]);
  });

  test('stays within 1 and 1024', () => {
    const story = running({ workers: 2 });
    story.scale({ by: -9 });
    assert.deepEqual(story.fleet.policy.workers, 1);
    story.scale({ to: 5000 });
    assert.equal(story.fleet.policy.workers, 1024);
  });

  test('during a hold drains only the surplus of the old ones; the new ones become as many', () => {
    const story = holding();
    story.scale({ to: 1 });
    assert.deepEqual(drained(story), [2]);
    story.scale({ to: 3 });
    assert.deepEqual(spawned(story), [4, 5]);
    story.promote();
    story.serveAll();
    assert.equal(story.ids('serving', 2).length, 3);
    assert.equal(story.fleet.generation, 2);
  });

  test('during a probation starts the missing ones, and proves them as well', () => {
    const story = running({ probationMs: 500 });
    story.reload();
    story.resolve();
    story.serveAll();
    story.now = 400;
    story.scale({ to: 2 });
    assert.equal(story.fleet.reload.phase, 'starting');
    story.serveAll();
    story.tick(899);
    assert.equal(story.fleet.generation, 1);
    story.tick(900);
    assert.deepEqual(story.ids('serving', 2).length, 2);
  });

  test('during the first start is answered when so many serve', () => {
    const story = starting({});
    const asked = story.scale({ to: 2 });
    assert.deepEqual(story.told('scale-finished'), []);
    story.serveAll();
    assert.deepEqual([story.ids('serving'), story.told('scale-finished')[0]?.requests], [[1, 2], [asked]]);
  });

  test('in a crash loop fails at once', () => {
    const story = running({ restartLimit: 1, workers: 2 });
    story.exit(1, 2, 3, 4);
    story.nextTick();
    story.exit(5);
    story.scale({ by: 1 });
    assert.deepEqual(story.told('scale-finished')[0]?.failure, { reason: 'crash-loop', crashes: 5 });
  });

  test('is answered when the master stops', () => {
    const story = running();
    const asked = story.scale({ by: 1 });
    story.stop();
    assert.deepEqual(story.told('scale-finished')[0], { type: 'scale-finished', workers: 0, requests: [asked], failure: { reason: 'stopping' } });
    const late = story.scale({ by: 1 });
    assert.deepEqual(refusals(story), [`${late} stopping`]);
  });

  test('holds for later generations until another number is configured, and is measured by that from then on', () => {
    const story = running({ workers: 2 });
    story.scale({ to: 4 });
    story.serveAll();
    const workersAfter = (configured: number) => reloaded(story, policyWith({ workers: configured })).fleet.policy.workers;
    assert.deepEqual([workersAfter(2), workersAfter(3), workersAfter(2)], [4, 3, 2]);
    workersAfter(3);
    story.scale({ to: 5 });
    story.serveAll();
    assert.equal(workersAfter(3), 5);
  });
});

describe('an ailing worker', () => {
  test('is replaced, and serves until another one does', () => {
    const story = running({ workers: 2 });
    story.tell({ type: 'worker-blocked', worker: 1, timeoutMs: 100 });
    assert.deepEqual([spawned(story), drained(story)], [[3], []]);
    story.ready(3);
    assert.deepEqual(drained(story), []);
    story.accept(3);
    assert.deepEqual(drained(story), [1]);
  });

  test('counts as a crash: its successor ails after a delay, too', () => {
    const story = running({ healthFailures: 1 });
    story.tell({ type: 'worker-checked', worker: 1, failure: unhealthy });
    story.serveAll();
    story.tell({ type: 'worker-checked', worker: 2, failure: unhealthy });
    assert.deepEqual(story.told('restart-scheduled'), [{ type: 'restart-scheduled', generation: 1, missing: 1, delayMs: 75 }]);
    assert.deepEqual(story.ids('serving'), [2]);
  });

  test('makes way where its successors ail as well before all of them serve, so that no more serve than are wanted', () => {
    const story = running({ workers: 2, healthFailures: 1 });
    story.tell({ type: 'worker-checked', worker: 1, failure: unhealthy });
    story.tell({ type: 'worker-blocked', worker: 2, timeoutMs: 100 });
    story.ready(3);
    story.accept(3);
    assert.deepEqual(drained(story), [2]); // the blocked one first
    story.tell({ type: 'worker-checked', worker: 3, failure: unhealthy });
    story.ready(4);
    story.accept(4);
    assert.deepEqual(drained(story), [1]);
    assert.deepEqual(story.ids('serving'), [3, 4]);
  });

  test('that ends before its successor serves is not counted twice', () => {
    const story = running();
    story.tell({ type: 'worker-blocked', worker: 1, timeoutMs: 100 });
    story.exit(1);
    assert.deepEqual([spawned(story), story.fleet.backoff.streak], [[], 1]);
  });
});

describe('recycling', () => {
  test('replaces the biggest worker above the limit, one at a time, and only when the one before is gone', () => {
    const story = running({ workers: 3, maxMemoryBytes: 1000 });
    story.tell({ type: 'worker-measured', worker: 1, rssBytes: 1000 });
    assert.deepEqual(story.effects, []);
    story.tell({ type: 'worker-measured', worker: 1, rssBytes: 2000 });
    assert.deepEqual(story.told('worker-ailing')[0]?.ailment, { reason: 'memory', rssBytes: 2000, limitBytes: 1000 });
    story.tell({ type: 'worker-measured', worker: 2, rssBytes: 1500 });
    story.tell({ type: 'worker-measured', worker: 3, rssBytes: 1800 });
    story.serveAll();
    assert.deepEqual(drained(story), [1]);
    story.retire(1);
    assert.deepEqual(story.told('worker-ailing'), []);
    story.exit(1);
    assert.deepEqual(
      story.told('worker-ailing').map(({ worker }) => worker),
      [3],
    );
    assert.equal(story.fleet.backoff.streak, 2, 'so soon after their start it counts as a crash');
  });

  test('of the old ones comes within the last tenth of their age, not at once for all', () => {
    const story = running({ workers: 2, maxAgeMs: 10_000 });
    story.nextTick();
    assert.ok(story.now >= 9000 && story.now < 10_000);
    assert.equal(story.told('worker-ailing').length, 1);
    assert.equal(story.ids('starting').length, 1);
    story.tick(10_000);
    assert.equal(story.told('worker-ailing').length, 0);
  });

  test('waits for the end of a reload that has not committed, and of a crash loop', () => {
    const story = holding(null, { maxMemoryBytes: 1000 });
    story.tell({ type: 'worker-measured', worker: 1, rssBytes: 2000 });
    assert.deepEqual(story.effects, []);
    const looping = running({ restartLimit: 1, maxMemoryBytes: 1000 });
    looping.exit(1, 2);
    looping.nextTick();
    looping.serveAll();
    looping.tell({ type: 'worker-measured', worker: 3, rssBytes: 2000 });
    assert.deepEqual(looping.effects, []);
    looping.nextTick();
    assert.deepEqual(looping.ids('starting'), [4]);
  });
});

describe('completion', () => {
  test('by code 0 ends the fleet with the last worker; a failure is started again', () => {
    const story = running({ workers: 2, restart: 'on-failure' });
    finish(story, 1);
    assert.deepEqual([spawned(story), story.effectsOf('exit'), story.fleet.backoff.streak], [[], [], 0]);
    story.exit(2);
    assert.deepEqual(spawned(story), [3]);
    story.serveAll();
    finish(story, 3);
    assert.deepEqual(story.effectsOf('exit'), [{ type: 'exit', failure: null, forced: false, completed: codeZero }]);
  });

  test('by any code with never; the first failure is the verdict', () => {
    const story = running({ workers: 2, restart: 'never' });
    finish(story, 1);
    finish(story, 2, codeOne);
    assert.deepEqual(story.effectsOf('exit')[0]?.completed, codeOne);
  });

  test('a process that could not be started has not completed', () => {
    const story = running({ restart: 'never' });
    finish(story, 1, { reason: 'spawn-failed', error: { name: 'Error', message: 'EAGAIN' } });
    assert.deepEqual(spawned(story), [2]);
  });

  test('of one worker before all are ready leaves the others at work, and the start commits with them', () => {
    const story = starting({ workers: 3, surge: 1, restart: 'on-failure' });
    finish(story, 1);
    assert.deepEqual(spawned(story), [2]);
    story.serveAll();
    assert.deepEqual([story.fleet.generation, story.ids('serving')], [1, [2, 3]]);
    finish(story, 2);
    finish(story, 3);
    assert.deepEqual(story.effectsOf('exit')[0]?.completed, codeZero);
  });

  test('of all before one is ready ends the first start, which is told so', () => {
    const story = starting({ restart: 'on-failure' });
    finish(story, 1);
    const [outcome] = story.told('reload-finished');
    assert.deepEqual(outcome?.outcome === 'rolled-back' && outcome.failure, { reason: 'completed' });
    assert.equal(story.fleet.phase, 'ended');
  });

  test('during a reload waits for it, and for those that wait behind it', () => {
    const story = running({ restart: 'on-failure' });
    story.reload();
    story.resolve();
    finish(story, 1);
    assert.equal(story.fleet.phase, 'running');
    story.reload();
    story.exit(2);
    assert.equal(story.fleet.reload.phase, 'resolving');
    story.resolve();
    story.exit(3);
    assert.equal(story.fleet.phase, 'ended');
  });

  test('of some is forgotten with their generation: the next one is wanted in full', () => {
    const story = running({ workers: 2, restart: 'on-failure' });
    finish(story, 1);
    reloaded(story);
    assert.deepEqual([story.fleet.completed, story.ids('serving')], [[], [3, 4]]);
    finish(story, 3);
    assert.equal(story.fleet.phase, 'running');
  });

  test('waits for a worker that withdrew of its own accord, and starts nobody meanwhile', () => {
    const story = running({ restart: 'on-failure' });
    story.withdraw(1);
    assert.deepEqual([spawned(story), story.fleet.phase], [[], 'running']);
    finish(story, 1);
    assert.equal(story.fleet.phase, 'ended');
  });

  test('of a worker makes its successor needless', () => {
    const story = running({ restart: 'on-failure' });
    story.tell({ type: 'worker-blocked', worker: 1, timeoutMs: 100 });
    finish(story, 1);
    assert.deepEqual(drained(story), [2]);
    finish(story, 2);
    assert.equal(story.fleet.phase, 'ended');
  });

  test('scaling down gives up the places of those who have completed first, the failed ones last', () => {
    const story = running({ workers: 4, restart: 'never' });
    finish(story, 1, codeOne);
    finish(story, 2);
    story.scale({ to: 3 });
    assert.deepEqual([drained(story), story.fleet.completed], [[], [codeOne]]);
    story.scale({ to: 1 });
    assert.deepEqual([drained(story), story.ids('serving')], [[4], [3]]);
  });

  test('a stop is a stop also where some have completed', () => {
    const story = running({ workers: 2, restart: 'on-failure' });
    finish(story, 1);
    story.reload();
    story.stop();
    const [outcome] = story.told('reload-finished');
    assert.deepEqual(outcome?.outcome === 'rolled-back' && outcome.failure, { reason: 'stopping' });
  });
});

describe('giving up', () => {
  /** A crash loop since 0, whose third start is due at 100. */
  function looping(changes: Partial<Policy> = {}): Story {
    const story = running({ restartLimit: 1, giveUpAfterMs: 150, backoffMaxMs: 400, ...changes });
    story.exit(1, 2);
    return story;
  }

  test('ends the master where somebody is missing at the deadline', () => {
    const story = looping();
    story.nextTick();
    story.exit(3);
    story.nextTick();
    assert.equal(story.now, 150);
    assert.deepEqual(story.told('gave-up'), [{ type: 'gave-up', generation: 1, crashes: 3, afterMs: 150 }]);
    assert.deepEqual(story.effectsOf('exit'), [{ type: 'exit', failure: { reason: 'crash-loop', crashes: 3 }, forced: false, completed: null }]);
  });

  test('waits for whoever is starting, and comes at its crash', () => {
    const story = looping();
    story.nextTick();
    story.tick(500);
    assert.equal(story.fleet.phase, 'running');
    story.exit(3);
    assert.equal(story.fleet.phase, 'ended');
  });

  test('does not happen where they serve in the end; the loop is over after a quiet window, and nothing waits for a time any more', () => {
    const story = looping({ restartWindowMs: 1000 });
    story.nextTick();
    story.serveAll();
    story.nextTick();
    assert.deepEqual([story.now, story.fleet.phase, story.fleet.backoff.isLooping], [1100, 'running', false]);
    assert.equal(nextDeadline(story.fleet), Number.POSITIVE_INFINITY);
  });

  test('waits for a reload that may mend it, and comes when that fails', () => {
    const story = looping({ backoffMinMs: 1000, backoffMaxMs: 1000 });
    story.reload();
    story.tick(900);
    assert.equal(story.fleet.phase, 'running');
    story.reject();
    assert.equal(story.fleet.phase, 'ended');
  });

  test('does not happen unless it is asked for', () => {
    const story = looping({ giveUpAfterMs: null });
    story.tick(500);
    assert.equal(story.fleet.phase, 'running');
  });
});

describe('the index of a worker', () => {
  const indices = (story: Story) => story.effectsOf('spawn').map(({ index }) => index);

  test('counts from 0 in each generation', () => {
    const story = running({ workers: 3 });
    story.reload();
    story.resolve();
    assert.deepEqual(indices(story), [0, 1, 2]);
  });

  test('goes on counting where a canary ends', () => {
    const story = holding();
    assert.deepEqual(indices(story), []);
    story.promote();
    assert.deepEqual(indices(story), [1]);
  });

  test('is that of the one it replaces, after a crash', () => {
    const story = running({ workers: 3 });
    story.exit(2);
    assert.deepEqual(indices(story), [1]);
  });

  test('is that of the one it replaces, while that still serves', () => {
    const story = running({ workers: 3 });
    story.tell({ type: 'worker-blocked', worker: 3, timeoutMs: 100 });
    assert.deepEqual(indices(story), [2]);
  });

  test('is not taken over from one that has completed', () => {
    const story = running({ workers: 2, restart: 'on-failure' });
    finish(story, 1);
    story.exit(2);
    assert.deepEqual(indices(story), [1]);
  });

  test('is the highest where there is one too many, and comes back with the next', () => {
    const story = running({ workers: 3 });
    story.exit(1);
    story.serveAll();
    story.scale({ to: 2 });
    assert.deepEqual(drained(story), [3]);
    story.scale({ to: 3 });
    assert.deepEqual(indices(story), [2]);
  });
});

describe('a program that may listen nowhere', () => {
  const quiet = { mustListen: false, readyTimeoutMs: 60_000 };

  /** When the worker is asked whether its event loop turns; null: it is to listen. */
  function askedAfter(story: Story, worker: number): number | null {
    const found = story.fleet.workers.find(({ id }) => id === worker);
    assert.equal(found?.phase, 'starting');
    return found?.phase === 'starting' && found.askAt !== null ? found.askAt - found.spawnedAt : null;
  }

  test('is given longer at its first start than later', () => {
    const story = starting(quiet);
    assert.equal(askedAfter(story, 1), 5000);
    story.tick(5000);
    assert.equal(story.effectsOf('ask').length, 1);
    story.tell({ type: 'worker-answered', worker: 1 });
    story.accept(1);
    story.reload();
    story.resolve();
    assert.equal(askedAfter(story, 2), 2000);
  });

  /** Its first generation is taken for a program that listens nowhere. */
  function quietlyStarted(): Story {
    const story = starting(quiet);
    story.tick(5000);
    story.tell({ type: 'worker-answered', worker: 1 });
    story.accept(1);
    return story;
  }

  test('has failed to start if a worker of its first generation ends within the ready timeout', () => {
    const story = quietlyStarted();
    story.exit(1);
    assert.deepEqual([story.fleet.phase, story.fleet.failure], ['ended', codeOne]);
  });

  test('is started again as any other later on, and once it has listened', () => {
    const late = quietlyStarted();
    late.tick(60_000);
    late.exit(1);
    const server = quietlyStarted();
    server.tell({ type: 'worker-listening', worker: 1, isListening: true });
    server.exit(1);
    for (const { fleet } of [late, server]) assert.deepEqual([fleet.phase, fleet.failure], ['running', null]);
  });

  test('is a server if another worker of its generation listens', () => {
    const story = starting({ ...quiet, workers: 2 });
    story.tell({ type: 'worker-listening', worker: 1, isListening: true });
    assert.equal(askedAfter(story, 2), null);
  });

  for (const [what, changes] of [
    ['something says that it will listen', { mustListen: true }],
    ['it listens already', {}],
  ] as const) {
    test(`is waited for where ${what}`, () => {
      const story = starting({ ...quiet, ...changes });
      story.tell({ type: 'worker-listening', worker: 1, isListening: true });
      story.tick(5000);
      assert.deepEqual(story.effectsOf('ask'), []);
      assert.deepEqual(story.ids('starting'), [1]);
    });
  }

  test('is to listen where the generation before did, and so is who takes the place of one that crashed', () => {
    const story = starting(quiet);
    story.tell({ type: 'worker-listening', worker: 1, isListening: true });
    story.serveAll();
    story.reload();
    story.resolve();
    assert.equal(askedAfter(story, 2), null);
    finish(story, 1, codeOne);
    assert.equal(askedAfter(story, 3), null);
  });

  test('need not where it comes back by a rollback, and did not listen then', () => {
    const story = running(quiet);
    story.reload();
    story.resolve();
    story.tell({ type: 'worker-listening', worker: 2, isListening: true });
    story.serveAll();
    story.retire(1);
    story.rollBack();
    story.resolve();
    assert.equal(askedAfter(story, 3), 2000);
  });

  test('serves late at its first start: from then on it is a server', () => {
    const story = running(quiet);
    story.tell({ type: 'worker-listening', worker: 1, isListening: true });
    story.reload();
    story.resolve();
    assert.equal(askedAfter(story, 2), null);
  });
});

describe('where nothing may run twice', () => {
  const alone = { overlaps: false, workers: 2 };

  test('the old workers drain first, the new ones start when the last has ended, and the account is of this reload', () => {
    const story = running(alone);
    story.reload();
    story.resolve();
    assert.deepEqual([drained(story), spawned(story)], [[1, 2], []]);
    story.retire(1, 2);
    story.drained(1, { closed: { http: 1 } });
    story.exit(1);
    assert.deepEqual(spawned(story), []);
    story.exit(2);
    assert.deepEqual(spawned(story), [3, 4]);
    story.serveAll();
    const [outcome] = story.told('reload-finished');
    assert.deepEqual([outcome?.outcome, outcome?.outcome === 'committed' && outcome.connections.closed], ['committed', { http: 1 }]);
    assert.deepEqual(
      story.told('reload-committed').map(({ hasPreviousEnded }) => hasPreviousEnded),
      [true],
    );
  });

  test('when the new ones fail the old release starts again, when the last of them has ended', () => {
    const story = running(alone);
    story.reload();
    story.resolve();
    story.exit(1, 2);
    story.exit(3);
    assert.deepEqual([story.told('reload-finished')[0]?.outcome, spawned(story)], ['rolled-back', []]);
    story.exit(4);
    assert.deepEqual(spawned(story), [5, 6]);
    assert.deepEqual(story.ids('starting', 1), [5, 6]);
  });

  test('a worker that ails drains at once; its successor starts when it has ended', () => {
    const story = running(alone);
    story.tell({ type: 'worker-blocked', worker: 1, timeoutMs: 100 });
    assert.deepEqual([drained(story), spawned(story)], [[1], []]);
    story.exit(1);
    assert.deepEqual(spawned(story), [3]);
  });

  test('a canary is refused', () => {
    const story = running(alone);
    story.reload({ workers: 1, holdMs: null });
    story.resolve();
    assert.deepEqual([story.told('reload-finished')[0]?.outcome, drained(story)], ['rolled-back', []]);
  });
});
