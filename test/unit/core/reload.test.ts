/** What may happen next with a reload, by table: the reload and its workers as they are → the verdict. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { nothing } from '../../../src/core/account.ts';
import type { Failure } from '../../../src/core/event.ts';
import { judge, type Reload, type Verdict } from '../../../src/core/reload.ts';
import { step } from '../../../src/core/worker.ts';
import type { Draining, Worker } from '../../../src/core/worker-state.ts';
import { policyWith } from '../helpers/policy.ts';
import { boom, codeOne, codeZero, unhealthy } from '../helpers/worker-events.ts';

const common = { generation: 2, startedAt: 0, requests: [{ id: 1, by: 'SIGHUP' }], canary: null };
const unfitBy: Failure = { reason: 'admit-failed', error: boom };

/** A worker of a phase; of the new generation unless said otherwise. */
function worker(phase: Worker['phase'], id = 5, generation = 2): Worker {
  const who = { id, generation, index: id - 1, spawnedAt: 0, addresses: [] };
  switch (phase) {
    case 'starting':
      return { ...who, phase, listening: false, askAt: null, deadline: 100 };
    case 'ready':
      return { ...who, phase };
    case 'admitted':
      return { ...who, phase, deadline: 100 };
    case 'serving':
      return { ...who, phase, since: 0, settlesAt: Number.POSITIVE_INFINITY, ailment: null, strikes: 0, checkFailure: null, rssBytes: 0 };
    case 'draining':
      return draining(id, generation);
    case 'unfit':
      return { ...who, phase, failure: unfitBy, next: 'SIGKILL', deadline: 100 };
    case 'stopped':
      return { ...who, phase, exit: codeZero, account: nothing };
    case 'crashed':
      return { ...who, phase, failure: codeOne };
  }
}

function draining(id: number, generation: number): Draining {
  return {
    id,
    generation,
    index: 0,
    spawnedAt: 0,
    addresses: [],
    phase: 'draining',
    since: 0,
    byItself: false,
    withdrew: false,
    open: null,
    drained: false,
    account: nothing,
    next: 'SIGTERM',
    deadline: 100,
  };
}

function several(...phases: Worker['phase'][]): Worker[] {
  return phases.map((phase, index) => worker(phase, index + 1));
}

function starting(workers: number, surge: number): Reload {
  return { ...common, phase: 'starting', dropped: [], policy: policyWith({ workers, surge }), configured: workers };
}

const admitting: Reload = { ...common, phase: 'admitting', dropped: [], policy: policyWith({ workers: 2 }), configured: 2 };
const proving: Reload = { ...common, phase: 'proving', dropped: [], policy: policyWith(), configured: 1, deadline: 50 };
const retiring: Reload = { ...common, phase: 'retiring', previous: 1 };
const holding: Reload = { ...admitting, phase: 'holding', canary: { workers: 1, holdMs: 40 }, deadline: 40 };
const wait: Verdict = { next: 'wait' };
const old = worker('serving', 9, 1);

type Row = readonly [promise: string, reload: Reload, workers: readonly Worker[], now: number, verdict: Verdict];

function table(rows: readonly Row[]): void {
  for (const [promise, reload, workers, now, verdict] of rows) test(promise, () => assert.deepEqual(judge(reload, workers, now), verdict));
}

describe('before the first worker', () => {
  table([
    ['nothing happens without a reload', { phase: 'idle' }, several('crashed'), 0, wait],
    ['nothing happens before the release is resolved', { ...common, phase: 'resolving' }, several('crashed'), 0, wait],
  ]);
});

describe('starting', () => {
  table([
    ['all workers start at once where the surge allows it', starting(3, 8), [], 0, { next: 'spawn', count: 3 }],
    ['the surge limits how many start at once', starting(3, 2), [], 0, { next: 'spawn', count: 2 }],
    ['none starts while the surge is used up', starting(3, 1), several('starting'), 0, wait],
    ['a ready worker makes room for the next', starting(3, 1), several('ready'), 0, { next: 'spawn', count: 1 }],
    ['one of two being ready makes room for one', starting(4, 2), several('starting', 'ready'), 0, { next: 'spawn', count: 1 }],
    ['no more start than are wanted', starting(2, 8), several('ready', 'starting'), 0, wait],
    ['none may accept before all are ready', starting(2, 8), several('starting', 'ready'), 0, wait],
    ['all ready: they may accept', starting(2, 1), several('ready', 'ready'), 0, { next: 'admit' }],
    ['workers of the old generation do not count', starting(1, 1), [old], 0, { next: 'spawn', count: 1 }],
  ]);
});

describe('admitting', () => {
  table([
    ['waits until every worker serves', admitting, several('serving', 'admitted'), 0, wait],
    ['all serve: on to probation', admitting, several('serving', 'serving'), 0, { next: 'prove' }],
    ['workers of the old generation do not count', admitting, [...several('serving', 'serving'), worker('starting', 9, 1)], 0, { next: 'prove' }],
  ]);
});

describe('a canary', () => {
  const canary = { workers: 2, holdMs: 40 };
  const few = { ...starting(4, 8), canary } as Reload;
  const served = { ...admitting, canary: { workers: 1, holdMs: null } } as Reload;
  table([
    ['so many start, and no more', few, several('ready'), 0, { next: 'spawn', count: 1 }],
    ['they are let to accept', few, several('ready', 'ready'), 0, { next: 'admit' }],
    ['the generation is no larger for it', { ...few, canary: { ...canary, workers: 9 } } as Reload, [], 0, { next: 'spawn', count: 4 }],
    ['it is held when it serves', served, several('serving'), 0, { next: 'hold', holdMs: null }],
    ['is held to the end of its time', holding, several('serving'), 39, wait],
    ['is promoted then', holding, several('serving'), 40, { next: 'promote' }],
    ['is not promoted then if it has just failed', holding, several('crashed'), 40, { next: 'roll-back', failure: codeOne, worker: 1 }],
    ['that is to be larger by now stays as it is', { ...holding, canary } as Reload, several('serving'), 39, wait],
  ]);
});

describe('where there are health pages', () => {
  const asked = policyWith({ hasHealth: true });
  const healthy = { ...worker('serving', 1), isHealthy: true } as Worker;
  for (const [name, reload, next] of [
    ['the probation', { ...proving, policy: asked } as Reload, 'commit'],
    ['the hold', { ...holding, policy: asked } as Reload, 'promote'],
  ] as const) {
    const over = { ...reload, deadline: Number.POSITIVE_INFINITY, isOver: true } as Reload;
    table([
      [`${name} does not end before its time`, reload, [healthy], 39, wait],
      [`${name} ends when a check has passed`, reload, [healthy], 50, { next }],
      [`${name} goes on while a check takes longer`, reload, several('serving'), 50, { next: 'overstay' }],
      [`${name} then waits for that`, over, several('serving'), 1e6, wait],
      [`${name} ends with it`, over, [healthy], 51, { next }],
    ]);
  }
});

describe('more workers are wanted than when it started', () => {
  table([
    ['while admitting', admitting, several('serving'), 0, { next: 'more' }],
    ['but those that are being admitted come first', admitting, several('admitted'), 0, wait],
    ['while proving', { ...proving, dropped: [], policy: policyWith({ workers: 2 }) } as Reload, several('serving'), 50, { next: 'more' }],
    ['or fewer', starting(1, 8), several('ready', 'ready'), 0, { next: 'admit' }],
  ]);
});

describe('some of a first generation have completed', () => {
  const judged = (reload: Reload, phases: Worker['phase'][], completed: number) => judge(reload, several(...phases), 0, { completed });
  test('the others start', () => assert.deepEqual(judged(starting(3, 8), ['ready'], 1), { next: 'spawn', count: 1 }));
  test('the others are admitted', () => assert.deepEqual(judged(starting(2, 8), ['ready'], 1), { next: 'admit' }));
  test('nobody is left', () => assert.deepEqual(judged(starting(2, 8), [], 2), wait));

  for (const [restart, byItself, next] of [
    ['never', true, 'wait'],
    ['on-failure', true, 'wait'],
    ['always', true, 'roll-back'],
    ['never', false, 'roll-back'],
  ] as const) {
    test(`${restart}: one that drains ${byItself ? 'by itself may be about to complete' : 'as it was told to is none of them'}: ${next}`, () => {
      const reload = { ...admitting, policy: policyWith({ restart }) } as Reload;
      const leaving = { ...worker('draining'), byItself } as Worker;
      assert.equal(judge(reload, [leaving], 0, { completed: 0 }).next, next);
      assert.equal(judge(reload, [leaving], 0).next, 'roll-back', 'where others serve beside it, it has failed');
    });
  }
});

describe('proving', () => {
  table([
    ['waits for the end of the probation', proving, several('serving'), 49, wait],
    ['commits at its end', proving, several('serving'), 50, { next: 'commit' }],
    ['does not commit at its end what has just failed', proving, several('crashed'), 50, { next: 'roll-back', failure: codeOne, worker: 1 }],
    ['a crash of the old generation is not held against the new one', proving, [...several('serving'), worker('crashed', 9, 1)], 49, wait],
  ]);
});

describe('retiring', () => {
  const accepting = draining(9, 1);
  const withdrawn: Worker = { ...accepting, withdrew: true };
  const settled: Worker = { ...withdrawn, open: 0 };
  const busy: Worker = { ...withdrawn, open: 3 };
  const [disconnected] = step(accepting, { type: 'worker-disconnected', worker: 9, now: 0 }, policyWith());
  table([
    ['waits while an old worker still accepts', retiring, [accepting, settled], 0, wait],
    ['waits even for one that has settled and still accepts', retiring, [{ ...settled, withdrew: false }], 0, wait],
    ['waits while an old worker still hands over', retiring, [settled, withdrawn], 0, wait],
    ['waits for workers of older generations, too', retiring, [settled, { ...withdrawn, generation: 0 }], 0, wait],
    ['is over when every old worker has stopped accepting, and has settled', retiring, [settled, settled], 0, { next: 'finish' }],
    ['does not wait for connections that stay', retiring, [settled, busy], 0, { next: 'finish' }],
    ['does not wait for one that can say nothing more', retiring, [disconnected, settled], 0, { next: 'finish' }],
    ['is over when the old workers are gone', retiring, several('serving'), 0, { next: 'finish' }],
    ['does not wait for a worker of its own generation', retiring, several('draining'), 0, { next: 'finish' }],
    ['does not wait for an old worker that can not accept any more', retiring, [worker('unfit', 9, 1)], 0, { next: 'finish' }],
    ['can not be rolled back any more', retiring, several('crashed'), 0, { next: 'finish' }],
  ]);
});

describe('a sign of ill health before the commit rolls back', () => {
  const serves = worker('serving', 1);
  for (const reload of [admitting, holding, proving]) {
    test(`a failed check while ${reload.phase}`, () => {
      const failure: Failure = { reason: 'unhealthy', ...unhealthy };
      assert.deepEqual(judge(reload, [{ ...serves, strikes: 1, checkFailure: unhealthy } as Worker], 0), { next: 'roll-back', failure, worker: 1 });
    });
    test(`a blocked event loop while ${reload.phase}`, () => {
      const failure: Failure = { reason: 'blocked', timeoutMs: 100 };
      assert.deepEqual(judge(reload, [{ ...serves, ailment: failure } as Worker], 0), { next: 'roll-back', failure, worker: 1 });
    });
  }
});

describe('every failure before the commit rolls back, and names the worker and the reason', () => {
  const failures: readonly (readonly [Worker['phase'], Failure])[] = [
    ['crashed', codeOne],
    ['unfit', unfitBy],
    ['stopped', codeZero],
    ['draining', { reason: 'withdrew' }],
  ];
  for (const reload of [starting(2, 8), admitting, holding, proving]) {
    for (const [phase, failure] of failures) {
      test(`${phase} while ${reload.phase}`, () => {
        assert.deepEqual(judge(reload, several('serving', phase), 0), { next: 'roll-back', failure, worker: 2 });
      });
    }
  }
});
