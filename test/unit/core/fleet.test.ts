/** The fleet, told scenarios step by step. Worker ids and generations count from 1. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { nothing } from '../../../src/core/account.ts';
import { noCrashes } from '../../../src/core/backoff.ts';
import type { Exit, Failure, Policy } from '../../../src/core/event.ts';
import { type Fleet, nextDeadline } from '../../../src/core/fleet.ts';
import { accountOf } from '../../../src/core/state.ts';
import { policyWith } from '../helpers/policy.ts';
import { type ReportOf, Story } from '../helpers/story.ts';
import { boom, codeOne } from '../helpers/worker-events.ts';

const stopping: Failure = { reason: 'stopping' };
const codeOneFailure: Failure = codeOne;

/** A fleet in which nothing has happened yet. */
function fresh(changes: Partial<Policy> = {}): Story {
  return new Story(policyWith(changes));
}

/** A fleet whose generation 1 serves. */
function running(changes: Partial<Policy> = {}): Story {
  return fresh(changes).started();
}

/** A fleet whose generation 1 (worker 1) serves and whose generation 2 (worker 2) is starting. */
function reloading(changes: Partial<Policy> = {}): Story {
  const story = running(changes);
  story.reload();
  story.resolve();
  return story;
}

/** A fleet whose generation 1 (workers 1 to 3) makes way for generation 2 (workers 4 to 6). */
function retiring(): Story {
  const story = reloading({ workers: 3 });
  story.serveAll();
  return story;
}

/** What the finished reload says of the connections of the generation that made way. */
function connectionsOf(story: Story): Fleet['accounts'][number] | undefined {
  const [outcome] = story.told('reload-finished');
  return outcome?.outcome === 'committed' ? outcome.connections : undefined;
}

/** Which workers were told to drain. */
function drained(story: Story): number[] {
  return story.effectsOf('drain').map(({ worker }) => worker);
}

function spawned(story: Story): number[] {
  return story.effectsOf('spawn').map(({ worker }) => worker);
}

describe('the first start', () => {
  test('resolves the release before anything is started', () => {
    const story = fresh();
    story.reload();
    assert.deepEqual(story.effectsOf('resolve'), [{ type: 'resolve', generation: 1, from: null }]);
    assert.deepEqual(spawned(story), []);
  });

  test('starts the wanted workers, lets them accept when all are ready, and is answered when all serve', () => {
    const story = fresh({ workers: 2 });
    story.reload();
    story.resolve();
    assert.deepEqual(spawned(story), [1, 2]);
    story.ready(1);
    assert.deepEqual(story.effectsOf('admit'), []);
    story.ready(2);
    assert.deepEqual(
      story.effectsOf('admit').map(({ worker }) => worker),
      [1, 2],
    );
    story.accept(1);
    assert.deepEqual(story.told('reload-finished'), []);
    story.accept(2);
    assert.deepEqual(story.told('reload-finished'), [
      { type: 'reload-finished', outcome: 'committed', generation: 1, previous: 0, connections: nothing, open: 0, requests: [1], durationMs: 0 },
    ]);
  });

  test('needs no probation: there is nobody to fall back to', () => {
    const story = running({ probationMs: 5000 });
    assert.equal(story.fleet.generation, 1);
  });

  test('nothing waits for a time once it serves', () => assert.equal(nextDeadline(running().fleet), Number.POSITIVE_INFINITY));
});

describe('a first start that fails ends the master', () => {
  test('by a rejected release, at once', () => {
    const story = fresh();
    story.reload();
    story.reject();
    assert.deepEqual(story.effectsOf('exit'), [{ type: 'exit', failure: { reason: 'release-rejected', error: boom }, forced: false, completed: null }]);
    assert.equal(story.told('reload-finished')[0]?.outcome, 'rolled-back');
  });

  test('by a crash, with its reason', () => {
    const story = fresh();
    story.reload();
    story.resolve();
    story.exit(1);
    assert.deepEqual(story.effectsOf('exit'), [{ type: 'exit', failure: codeOneFailure, forced: false, completed: null }]);
    assert.equal(story.fleet.phase, 'ended');
  });

  test('only after the other workers are gone', () => {
    const story = fresh({ workers: 2 });
    story.reload();
    story.resolve();
    story.exit(1);
    assert.deepEqual(story.effectsOf('exit'), []);
    assert.deepEqual(drained(story), [2]);
    story.exit(2);
    assert.deepEqual(story.effectsOf('exit'), [{ type: 'exit', failure: codeOneFailure, forced: false, completed: null }]);
  });

  test('by the ready timeout, after the worker is gone', () => {
    const story = fresh();
    story.reload();
    story.resolve();
    story.tick(1000);
    assert.deepEqual(story.effectsOf('signal'), [{ type: 'signal', worker: 1, signal: 'SIGTERM' }]);
    story.exit(1);
    assert.equal(story.effectsOf('exit')[0]?.failure?.reason, 'ready-timeout');
  });

  test('and requests that came meanwhile are told why', () => {
    const story = fresh();
    story.reload();
    const second = story.reload();
    story.reject();
    const answers = story.told('reload-finished');
    assert.deepEqual(
      answers.flatMap(({ requests }) => requests),
      [1, second],
    );
    for (const answer of answers) assert.equal(answer.outcome === 'rolled-back' && answer.failure.reason, 'release-rejected');
  });
});

describe('a reload that commits', () => {
  test('tells the old worker to drain only when the new one serves', () => {
    const story = reloading();
    assert.deepEqual(drained(story), []);
    story.ready(2);
    assert.deepEqual(drained(story), []);
    story.accept(2);
    assert.deepEqual(drained(story), [1]);
    assert.deepEqual(story.told('reload-committed'), [{ type: 'reload-committed', generation: 2, previous: 1 }]);
  });

  test('is answered when the old worker has stopped accepting, and has handed over what could move at once', () => {
    const story = reloading();
    story.serveAll();
    assert.deepEqual(story.told('reload-finished'), []);
    story.withdraw(1);
    assert.deepEqual(story.told('reload-finished'), []);
    story.settle(1, { http: 2 }, 3);
    const connections = { ...nothing, moved: { http: 2 } };
    assert.deepEqual(story.told('reload-finished'), [
      { type: 'reload-finished', outcome: 'committed', generation: 2, previous: 1, connections, open: 3, requests: [2], durationMs: 0 },
    ]);
  });

  test('is answered when the old worker can say nothing more', () => {
    const story = reloading();
    story.serveAll();
    story.tell({ type: 'worker-disconnected', worker: 1 });
    assert.equal(story.told('reload-finished')[0]?.outcome, 'committed');
  });

  test('is answered when the old worker is drained before it could say that it has settled', () => {
    const story = reloading();
    story.serveAll();
    story.withdraw(1);
    story.drained(1, { closed: { http: 1 } });
    assert.deepEqual(connectionsOf(story), { ...nothing, closed: { http: 1 } });
  });

  test('is answered when the old worker dies instead', () => {
    const story = reloading();
    story.serveAll();
    story.exit(1);
    assert.equal(story.told('reload-finished')[0]?.outcome, 'committed');
  });

  test('with surge 1 starts one worker after the other, and lets them accept together', () => {
    const story = running({ workers: 3, surge: 1 });
    story.reload();
    story.resolve();
    for (const worker of [4, 5, 6]) {
      assert.deepEqual(spawned(story), [worker]);
      assert.deepEqual(story.effectsOf('admit'), []);
      story.ready(worker);
    }
    assert.deepEqual(
      story.effectsOf('admit').map(({ worker }) => worker),
      [4, 5, 6],
    );
    story.accept(4, 5, 6);
    assert.deepEqual(drained(story), [1, 2, 3]);
  });

  test('lives by the new numbers from its first worker on', () => {
    const story = running();
    story.reload();
    story.resolve(policyWith({ workers: 2, readyTimeoutMs: 7000, drainTimeoutMs: 9000 }));
    assert.deepEqual(spawned(story), [2, 3]);
    assert.equal(nextDeadline(story.fleet), 7000);
    story.serveAll();
    assert.equal(story.effectsOf('drain')[0]?.times.drainTimeoutMs, 9000);
    assert.equal(story.fleet.policy.workers, 2);
  });

  test('may want fewer workers than before', () => {
    const story = running({ workers: 3 });
    story.reload();
    story.resolve(policyWith({ workers: 1 }));
    story.serveAll();
    story.exit(1, 2, 3);
    assert.deepEqual(story.ids('serving'), [4]);
    assert.equal(nextDeadline(story.fleet), Number.POSITIVE_INFINITY);
  });

  test('a late answer for another generation changes nothing', () => {
    const story = running();
    story.reload();
    const before = story.fleet;
    story.tell({ type: 'release-resolved', generation: 1, policy: policyWith(), dropped: [] });
    story.tell({ type: 'release-rejected', generation: 1, error: boom });
    assert.deepEqual(story.fleet, before);
  });
});

describe('a reload that is rolled back leaves the old worker alone', () => {
  /** What came of it, and that the old worker was told nothing. */
  function assertRolledBack(story: Story, reason: Failure['reason'], worker: number | null): void {
    const [outcome, ...more] = story.told('reload-finished');
    assert.deepEqual(more, []);
    assert.ok(outcome?.outcome === 'rolled-back');
    assert.deepEqual([outcome.failure.reason, outcome.worker, outcome.previous, outcome.serving], [reason, worker, 1, 1]);
    assert.deepEqual(story.ids('serving'), [1]);
    assert.equal(story.fleet.generation, 1);
    assert.equal(story.fleet.phase, 'running');
  }

  test('by a rejected release', () => {
    const story = running();
    story.reload();
    story.reject();
    assertRolledBack(story, 'release-rejected', null);
  });

  test('by a crash before it is ready', () => {
    const story = reloading();
    story.exit(2);
    assertRolledBack(story, 'exit', 2);
  });

  test('by a crash while the others become ready', () => {
    const story = running();
    story.reload();
    story.resolve(policyWith({ workers: 3 }));
    story.ready(2, 3);
    story.exit(2);
    assertRolledBack(story, 'exit', 2);
    assert.deepEqual(drained(story), [3, 4]);
  });

  test('by the ready timeout', () => {
    const story = reloading();
    story.tick(1000);
    assertRolledBack(story, 'ready-timeout', 2);
    assert.deepEqual(story.effectsOf('signal'), [{ type: 'signal', worker: 2, signal: 'SIGTERM' }]);
  });

  test('by a worker that can not accept', () => {
    const story = reloading();
    story.ready(2);
    story.tell({ type: 'worker-admit-failed', worker: 2, error: boom });
    assertRolledBack(story, 'admit-failed', 2);
  });

  test('by a worker that never says that it accepts', () => {
    const story = reloading();
    story.ready(2);
    story.tick(1000);
    assertRolledBack(story, 'ready-timeout', 2);
  });

  test('by a worker that stops accepting of its own accord', () => {
    const story = reloading();
    story.ready(2);
    story.withdraw(2);
    assertRolledBack(story, 'withdrew', 2);
  });

  test('and a new reload may follow at once', () => {
    const story = reloading();
    story.exit(2);
    story.reload();
    assert.deepEqual(story.effectsOf('resolve'), [{ type: 'resolve', generation: 3, from: null }]);
  });
});

describe('probation', () => {
  /** Generation 2 (worker 2) serves beside generation 1 until 500. */
  function proving(): Story {
    const story = reloading({ probationMs: 500 });
    story.serveAll();
    return story;
  }

  test('both generations serve, and nobody is told to drain', () => {
    const story = proving();
    assert.deepEqual(story.told('reload-probation'), [{ type: 'reload-probation', generation: 2, probationMs: 500 }]);
    assert.deepEqual(story.ids('serving'), [1, 2]);
    assert.equal(nextDeadline(story.fleet), 500);
  });

  test('at its end the reload commits', () => {
    const story = proving();
    story.tick(499);
    assert.equal(story.fleet.generation, 1);
    story.tick(500);
    assert.deepEqual(drained(story), [1]);
    assert.equal(story.fleet.generation, 2);
  });

  test('a crash of the new worker in it rolls back', () => {
    const story = proving();
    story.exit(2);
    assert.equal(story.told('reload-finished')[0]?.outcome, 'rolled-back');
    assert.deepEqual(story.ids('serving'), [1]);
  });

  test('a crash of the old worker in it is mended beside it', () => {
    const story = proving();
    story.exit(1);
    assert.deepEqual(story.effectsOf('spawn'), [{ type: 'spawn', worker: 3, generation: 1, index: 0 }]);
    story.tick(500);
    assert.equal(story.fleet.generation, 2);
    assert.deepEqual(drained(story), [3]);
  });
});

describe('requests during a reload', () => {
  test('however many, make exactly one more reload', () => {
    const story = reloading();
    const waiting = Array.from({ length: 5 }, () => story.reload());
    assert.deepEqual(story.effectsOf('resolve'), []);
    story.serveAll();
    story.retire(1);
    assert.deepEqual(story.told('reload-finished')[0]?.requests, [2]);
    assert.deepEqual(story.told('reload-started')[0]?.requests, waiting);
    assert.deepEqual(story.effectsOf('resolve'), [{ type: 'resolve', generation: 3, from: null }]);
    story.resolve();
    story.serveAll();
    story.retire(2);
    assert.deepEqual(story.told('reload-finished')[0]?.requests, waiting);
    assert.deepEqual(story.effectsOf('resolve'), []);
  });

  test('are served after one that was rolled back, too', () => {
    const story = reloading();
    const waiting = story.reload();
    story.exit(2);
    assert.deepEqual(story.told('reload-started')[0]?.requests, [waiting]);
  });
});

describe('a crashed worker is replaced', () => {
  test('at once the first time', () => {
    const story = running();
    story.exit(1);
    assert.deepEqual(story.effectsOf('spawn'), [{ type: 'spawn', worker: 2, generation: 1, index: 0 }]);
    assert.equal(story.fleet.restarts, 1);
  });

  test('and accepts as soon as it is ready', () => {
    const story = running({ workers: 2 });
    story.exit(1);
    story.ready(3);
    assert.deepEqual(story.effectsOf('admit'), [{ type: 'admit', worker: 3 }]);
  });

  test('after a delay from the second time on', () => {
    const story = running();
    story.exit(1, 2);
    assert.deepEqual(spawned(story), []);
    assert.deepEqual(story.told('restart-scheduled'), [{ type: 'restart-scheduled', generation: 1, missing: 1, delayMs: 100 }]);
    assert.equal(nextDeadline(story.fleet), 100);
    story.tick(99);
    assert.deepEqual(spawned(story), []);
    story.tick(100);
    assert.deepEqual(spawned(story), [3]);
  });

  test('each in its own place', () => {
    const story = running({ workers: 3 });
    story.exit(1, 2);
    assert.deepEqual(story.ids('starting'), [4, 5]);
    assert.deepEqual(story.ids('serving'), [3]);
  });

  test('one that drains of its own accord is replaced before it ends', () => {
    const story = running();
    story.withdraw(1);
    assert.deepEqual(spawned(story), [2]);
    assert.deepEqual(story.ids('draining'), [1]);
  });

  test('an old worker that ends as it was told to is not replaced', () => {
    const story = reloading();
    story.serveAll();
    story.exit(1);
    assert.deepEqual(spawned(story), []);
  });
});

describe('a crash loop', () => {
  /** Worker 1 and its two replacements have crashed. */
  function looping(): Story {
    const story = running({ restartLimit: 2 });
    story.exit(1, 2);
    story.nextTick();
    story.exit(3);
    return story;
  }

  test('is told once', () => {
    const story = looping();
    assert.deepEqual(story.told('crash-loop'), [{ type: 'crash-loop', generation: 1, crashes: 3 }]);
    story.nextTick();
    story.exit(4);
    assert.deepEqual(story.told('crash-loop'), []);
    assert.equal(story.fleet.backoff.isLooping, true);
  });

  test('goes on trying', () => {
    const story = looping();
    story.nextTick();
    assert.deepEqual(spawned(story), [4]);
  });

  test('a reload in it starts at once', () => {
    const story = looping();
    story.reload();
    story.resolve();
    assert.deepEqual(story.effectsOf('spawn'), [{ type: 'spawn', worker: 4, generation: 2, index: 0 }]);
  });

  test('a reload that commits ends it', () => {
    const story = looping();
    story.reload();
    story.resolve();
    story.serveAll();
    assert.deepEqual(story.fleet.backoff, noCrashes);
  });

  test('crashes of a new generation do not count against the old one', () => {
    const story = reloading();
    story.exit(2);
    assert.equal(story.fleet.backoff.streak, 0);
  });
});

describe('a worker that leaves its place without crashing', () => {
  test('is replaced with back-off, too, if it happens again and again', () => {
    const story = running({ drainTimeoutMs: 30_000 });
    for (let round = 0; round < 50; round++) {
      story.now += 10;
      story.withdraw(...story.fleet.workers.filter(({ phase }) => phase === 'serving').map(({ id }) => id));
      story.serveAll();
    }
    assert.ok(story.fleet.workers.length <= 4, `${story.fleet.workers.length} processes after 500 ms`);
  });

  test('a ready worker may accept at the moment another one is being started', () => {
    const story = running({ workers: 2 });
    story.exit(1, 2);
    story.now = 100;
    story.ready(4);
    assert.deepEqual(story.effectsOf('admit'), [{ type: 'admit', worker: 4 }]);
  });
});

describe('stop', () => {
  test('the first request during a start that has failed is the first, not the second', () => {
    const story = fresh({ workers: 2 });
    story.reload();
    story.resolve();
    story.exit(1);
    story.stop();
    assert.deepEqual(story.effectsOf('signal'), []);
    story.exit(2);
    assert.deepEqual(
      story.effectsOf('exit').map((effect) => effect.type === 'exit' && effect.forced),
      [false],
    );
  });

  test('drains every worker, and ends when they are gone', () => {
    const story = running({ workers: 2 });
    story.stop();
    assert.deepEqual(drained(story), [1, 2]);
    story.exit(1);
    assert.deepEqual(story.effectsOf('exit'), []);
    story.exit(2);
    assert.deepEqual(story.effectsOf('exit'), [{ type: 'exit', failure: null, forced: false, completed: null }]);
  });

  test('before anything was started ends at once', () => {
    const story = fresh();
    story.stop();
    assert.deepEqual(story.effectsOf('exit'), [{ type: 'exit', failure: null, forced: false, completed: null }]);
  });

  const phases: readonly (readonly [string, (story: Story) => void])[] = [
    ['resolving', () => {}],
    ['starting', (story) => story.resolve()],
    [
      'admitting',
      (story) => {
        story.resolve();
        story.ready(2);
      },
    ],
    [
      'proving',
      (story) => {
        story.resolve();
        story.serveAll();
      },
    ],
  ];
  for (const [phase, advance] of phases) {
    test(`while ${phase} abandons the reload and drains all there is`, () => {
      const story = running({ probationMs: 500 });
      story.reload();
      advance(story);
      assert.equal(story.fleet.reload.phase, phase);
      const all = story.fleet.workers.map(({ id }) => id);
      story.stop();
      const [outcome] = story.told('reload-finished');
      assert.deepEqual(outcome?.outcome === 'rolled-back' && [outcome.requests, outcome.failure], [[2], stopping]);
      assert.deepEqual(drained(story), all);
    });
  }

  test('while retiring: the reload has committed, and its answer says so', () => {
    const story = reloading();
    story.serveAll();
    const waiting = story.reload();
    story.stop();
    assert.deepEqual(
      story.told('reload-finished').map(({ outcome, requests }) => [outcome, requests]),
      [
        ['committed', [2]],
        ['rolled-back', [waiting]],
      ],
    );
    assert.deepEqual(drained(story), [2]);
  });

  test('answers the waiting requests', () => {
    const story = reloading();
    const waiting = story.reload();
    story.stop();
    assert.deepEqual(story.told('reload-finished')[0]?.requests, [2, waiting]);
  });

  test('a reload after it is refused at once', () => {
    const story = running();
    story.stop();
    const late = story.reload();
    const [outcome] = story.told('reload-finished');
    assert.deepEqual(outcome?.outcome === 'rolled-back' && [outcome.requests, outcome.failure], [[late], stopping]);
    assert.deepEqual(story.effectsOf('resolve'), []);
  });

  test('nothing is replaced any more', () => {
    const story = running({ workers: 2 });
    story.stop();
    story.exit(1);
    story.tick(1e6);
    assert.deepEqual(spawned(story), []);
  });

  test('a worker that becomes ready too late does not accept any more', () => {
    const story = reloading();
    story.stop();
    story.ready(2);
    assert.deepEqual(story.effects, []);
  });

  test('a release that is resolved too late starts nothing', () => {
    const story = running();
    story.reload();
    story.stop();
    story.resolve();
    assert.deepEqual(story.effects, []);
  });

  test('a worker that ignores it gets SIGTERM, then SIGKILL', () => {
    const story = running();
    story.stop();
    const signals = [story.nextTick(), story.nextTick()].flat().flatMap((effect) => (effect.type === 'signal' ? [effect.signal] : []));
    assert.deepEqual(signals, ['SIGTERM', 'SIGKILL']);
  });

  test('a second one kills every worker at once, and the end says so', () => {
    const story = running({ workers: 2 });
    story.stop();
    story.stop();
    assert.deepEqual(story.effectsOf('signal'), [
      { type: 'signal', worker: 1, signal: 'SIGKILL' },
      { type: 'signal', worker: 2, signal: 'SIGKILL' },
    ]);
    story.exit(1, 2);
    assert.deepEqual(story.effectsOf('exit'), [{ type: 'exit', failure: null, forced: true, completed: null }]);
  });

  test('nothing follows the end', () => {
    const story = running();
    story.stop();
    story.exit(1);
    const ended = story.fleet;
    story.exit(1);
    story.tick(1e6);
    story.stop();
    assert.equal(story.fleet, ended);
    assert.deepEqual(story.effects, []);
  });
});

describe('draining generations', () => {
  /** One more reload commits; its old worker drains and does not end. */
  function reloadOnce(story: Story): void {
    story.reload();
    story.resolve();
    story.serveAll();
    story.retire(...story.ids('draining'));
  }

  test('above the cap the oldest is cut, and that is told', () => {
    const story = running({ maxDraining: 2 });
    reloadOnce(story);
    reloadOnce(story);
    story.reload();
    story.resolve();
    story.ready(4);
    assert.deepEqual(story.effectsOf('signal'), []);
    story.accept(4);
    assert.deepEqual(story.told('generation-cut'), [{ type: 'generation-cut', generation: 1, maxDraining: 2 }]);
    assert.deepEqual(story.effectsOf('signal'), [{ type: 'signal', worker: 1, signal: 'SIGTERM' }]);
  });

  test('as many as the cap allows are left alone', () => {
    const story = running({ maxDraining: 2 });
    reloadOnce(story);
    reloadOnce(story);
    assert.deepEqual(story.ids('draining'), [1, 2]);
    assert.deepEqual(story.told('generation-cut'), []);
  });

  test('several workers of one generation count as one', () => {
    const story = running({ workers: 3, maxDraining: 1 });
    story.reload();
    story.resolve();
    story.serveAll();
    assert.equal(story.ids('draining').length, 3);
    assert.deepEqual(story.told('generation-cut'), []);
  });
});

describe('the connections of a generation', () => {
  const killed: Exit = { reason: 'signal', signal: 'SIGKILL' };

  /** A generation is gone, with this account. */
  function gone(generation: number, account: Partial<Fleet['accounts'][number]> = {}): ReportOf<'generation-gone'>[] {
    return [{ type: 'generation-gone', generation, ...nothing, ...account }];
  }

  test('are told as one sum when its last worker has ended, and not before', () => {
    const story = retiring();
    story.withdraw(1, 2, 3);
    story.settle(1, { http: 2 });
    story.settle(2, { http: 1, tcp: 1 }, 1);
    story.settle(3, {}, 2);
    story.drained(1, { moved: { http: 4 } });
    story.drained(2, { closed: { http: 3 } });
    story.drained(3, { closed: { http: 1, unix: 1 }, cut: { websocket: 2 } });
    for (const worker of [1, 2]) {
      story.exit(worker);
      assert.deepEqual(story.told('generation-gone'), []);
    }
    story.exit(3);
    assert.deepEqual(story.told('generation-gone'), gone(1, { moved: { http: 5, tcp: 1 }, closed: { http: 4, unix: 1 }, cut: { websocket: 2 } }));
  });

  test('are summed over its workers, living and dead, when the reload is over', () => {
    const story = retiring();
    story.withdraw(1, 2, 3);
    story.settle(1, { http: 2 }, 4);
    story.drained(1, { moved: { http: 3 }, closed: { http: 3 } });
    story.exit(1);
    story.settle(2, { http: 1 }, 5);
    assert.deepEqual(story.told('reload-finished'), []);
    story.settle(3, { tcp: 1 }, 2);
    const [outcome] = story.told('reload-finished');
    assert.ok(outcome?.outcome === 'committed');
    assert.deepEqual([outcome.connections, outcome.open], [{ moved: { http: 4, tcp: 1 }, closed: { http: 3 }, cut: {} }, 7]);
  });

  test('that were to move and did not are told by reason, of each worker and of all', () => {
    const story = retiring();
    story.withdraw(1, 2, 3);
    for (const [worker, open, stayed] of [
      [1, 4, { 'no room': 3 }],
      [2, 5, { 'no room': 1, silence: 1 }],
    ] as const) {
      story.settle(worker, {}, open, stayed);
      assert.deepEqual(story.told('worker-kept'), [{ type: 'worker-kept', worker, generation: 1, stayed }]);
    }
    story.settle(3, {}, 0);
    const [outcome] = story.told('reload-finished');
    assert.deepEqual(outcome?.outcome === 'committed' && outcome.stayed, { 'no room': 4, silence: 1 });
  });

  test('that its workers were left with count as open only while they are', () => {
    const story = retiring();
    story.withdraw(1, 2, 3);
    story.settle(1, {}, 4);
    story.drained(1, { closed: { http: 4 } });
    story.settle(2, {}, 5);
    story.exit(2);
    story.settle(3, {}, 1);
    const [outcome] = story.told('reload-finished');
    assert.equal(outcome?.outcome === 'committed' && outcome.open, 1);
  });

  test('that moved after their worker spoke last are counted when it is killed', () => {
    const story = reloading();
    story.serveAll();
    story.withdraw(1);
    story.settle(1, { http: 2 }, 3);
    story.tell({ type: 'worker-exited', worker: 1, exit: killed, chance: 0, moved: { http: 4 } });
    assert.deepEqual(story.told('generation-gone'), gone(1, { moved: { http: 4 } }));
  });

  test('are told with the end of the reload, and after it, where the last worker ends it by its death', () => {
    const story = reloading();
    story.serveAll();
    story.tell({ type: 'worker-exited', worker: 1, exit: killed, chance: 0, moved: { http: 1 } });
    assert.deepEqual(
      story.effects.flatMap((effect) => (effect.type === 'report' ? [effect.report.type] : [])),
      ['worker-stopped', 'reload-finished', 'generation-gone'],
    );
    assert.deepEqual(connectionsOf(story), { ...nothing, moved: { http: 1 } });
    assert.deepEqual(story.told('generation-gone'), gone(1, { moved: { http: 1 } }));
  });

  test('are known to the end of the reload also where the generation is gone before, and a rolled-back one still drains', () => {
    const story = running();
    story.reload();
    story.resolve(policyWith({ workers: 3 }));
    story.exit(2);
    story.reload();
    story.resolve();
    story.serveAll();
    assert.deepEqual(story.ids('draining'), [1, 3, 4]);
    story.withdraw(1);
    story.settle(1, { http: 2 });
    story.exit(1);
    assert.deepEqual(story.told('generation-gone'), gone(1, { moved: { http: 2 } }));
    story.exit(3);
    assert.deepEqual(story.told('reload-finished'), []);
    story.exit(4);
    assert.deepEqual(connectionsOf(story), { ...nothing, moved: { http: 2 } });
  });

  test('stay known after the reload, for the status, whoever ends then', () => {
    const story = reloading();
    story.serveAll();
    story.withdraw(1);
    story.settle(1, { http: 2 }, 1);
    story.drained(1, { closed: { http: 1 } });
    story.exit(1, 2);
    story.reload();
    story.exit(3);
    assert.deepEqual(accountOf(story.fleet, 1), { moved: { http: 2 }, closed: { http: 1 }, cut: {} });
  });

  test('do not count to a reload where their worker withdrew of its own accord, and ended, before it', () => {
    const story = running({ workers: 2 });
    story.withdraw(1);
    story.settle(1, { http: 5 });
    story.drained(1, { closed: { http: 6 } });
    story.exit(1);
    story.ready(3);
    story.accept(3);
    story.reload();
    story.resolve();
    story.serveAll();
    story.withdraw(2, 3);
    story.settle(2, { http: 1 });
    story.settle(3);
    assert.deepEqual(connectionsOf(story), { ...nothing, moved: { http: 1 } });
    story.exit(2, 3);
    assert.deepEqual(story.told('generation-gone'), gone(1, { moved: { http: 1 } }));
  });

  test('of an older generation that still drains are told when that is gone, and do not count to a later reload', () => {
    const story = reloading();
    story.serveAll();
    story.withdraw(1);
    story.settle(1, { tcp: 1 }, 1);
    story.reload();
    story.resolve();
    story.serveAll();
    story.withdraw(2);
    story.settle(2, { http: 7 });
    const [outcome] = story.told('reload-finished');
    assert.ok(outcome?.outcome === 'committed');
    assert.deepEqual([outcome.connections, outcome.open], [{ ...nothing, moved: { http: 7 } }, 0]);
    story.exit(2);
    assert.deepEqual(story.told('generation-gone'), gone(2, { moved: { http: 7 } }));
    story.drained(1, { cut: { tcp: 1 } });
    story.exit(1);
    assert.deepEqual(story.told('generation-gone'), gone(1, { moved: { tcp: 1 }, cut: { tcp: 1 } }));
  });

  test('of a worker that crashes before it drains are nobody’s to count', () => {
    const story = running({ workers: 2 });
    story.reload();
    story.resolve();
    story.exit(1);
    story.serveAll();
    story.retire(2, 5);
    story.exit(2, 5);
    assert.deepEqual(story.told('generation-gone'), gone(1));
  });

  test('are not told while the generation serves, nor when the master stops', () => {
    const story = running({ workers: 2 });
    story.withdraw(1);
    story.exit(1);
    assert.deepEqual(story.told('generation-gone'), []);
    story.stop();
    story.exit(2, 3);
    assert.equal(story.fleet.phase, 'ended');
    assert.deepEqual(story.told('generation-gone'), []);
  });

  test('are forgotten over 100 reloads, whether they commit or are rolled back', () => {
    const story = running({ workers: 2 });
    for (let round = 0; round < 100; round++) {
      story.reload();
      story.resolve();
      if (round % 3 === 0) story.exit(...story.ids('starting').slice(0, 1));
      story.serveAll();
      for (const worker of story.ids('draining')) {
        story.withdraw(worker);
        story.settle(worker, { http: 1 });
        story.exit(worker);
      }
      assert.equal(story.fleet.reload.phase, 'idle');
      assert.ok(Object.keys(story.fleet.accounts).length <= 4, JSON.stringify(story.fleet.accounts));
    }
  });

  test('are kept while a worker of its generation drains, however many reloads follow', () => {
    const story = retiring();
    story.withdraw(1, 2, 3);
    story.settle(1, { http: 3 });
    story.exit(1);
    story.settle(2, {}, 1);
    story.exit(3);
    for (let round = 0; round < 5; round++) {
      story.reload();
      story.resolve();
      story.serveAll();
      const old = story.ids('draining').filter((worker) => worker !== 2);
      story.retire(...old);
      story.exit(...old);
    }
    story.exit(2);
    assert.deepEqual(story.told('generation-gone'), gone(1, { moved: { http: 3 } }));
  });
});

describe('listeners that nobody uses are closed', () => {
  test('when the last worker of the old generation is gone', () => {
    const story = running({ workers: 2 });
    story.reload();
    story.resolve();
    story.serveAll();
    story.exit(1);
    assert.deepEqual(story.effectsOf('forget-others'), []);
    story.exit(2);
    assert.deepEqual(story.effectsOf('forget-others'), [{ type: 'forget-others', generations: [2] }]);
  });

  test('when the last worker of a generation that was rolled back is gone', () => {
    const story = running();
    story.reload();
    story.resolve(policyWith({ workers: 2 }));
    story.exit(2);
    assert.deepEqual(story.effectsOf('forget-others'), []);
    story.exit(3);
    assert.deepEqual(story.effectsOf('forget-others'), [{ type: 'forget-others', generations: [1] }]);
  });

  test('at once for a release that was rejected', () => {
    const story = running();
    story.reload();
    story.reject();
    assert.deepEqual(story.effectsOf('forget-others'), [{ type: 'forget-others', generations: [1] }]);
  });

  test('but not while all of its workers have crashed', () => {
    const story = running();
    story.exit(1, 2);
    assert.deepEqual(story.fleet.workers, []);
    assert.deepEqual(story.effectsOf('forget-others'), []);
  });
});
