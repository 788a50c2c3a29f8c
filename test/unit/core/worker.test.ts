/** One worker's life: a table a phase, event → the worker after it and what is to be done. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { nothing } from '../../../src/core/account.ts';
import type { DrainTimes, Effect, Report } from '../../../src/core/effect.ts';
import type { Ailment, ConnectionAccount, Failure, HealthFailure } from '../../../src/core/event.ts';
import { admit, ail, step } from '../../../src/core/worker.ts';
import { complete, cut, drain } from '../../../src/core/worker-end.ts';
import { spawn } from '../../../src/core/worker-start.ts';
import { type Admitted, type Draining, isGone, isWanted, type Serving, type Worker, type WorkerStep } from '../../../src/core/worker-state.ts';
import { policyWith } from '../helpers/policy.ts';
import { boom, codeOne, codeZero, everyEvent, unhealthy, type WorkerStepEvent } from '../helpers/worker-events.ts';

const policy = policyWith();
const times: DrainTimes = { idleGraceMs: 50, drainTimeoutMs: 500, killTimeoutMs: 100, lingerMs: 0 };
/** The drain timeout, and 2 s more for the worker's own account of it. */
const DRAIN_MS = 2500;
const who = { id: 7, generation: 3, index: 1, spawnedAt: 10, addresses: [] };
const timedOut: Failure = { reason: 'ready-timeout', timeoutMs: 1000, listening: false };

const starting: Worker = { ...who, phase: 'starting', listening: false, askAt: null, deadline: 1010 };
const listening: Worker = { ...starting, listening: true };
const ready = { ...who, phase: 'ready' } as const;
const admitted: Admitted = { ...who, phase: 'admitted', deadline: 1500 };
const serving: Serving = {
  ...who,
  phase: 'serving',
  since: 600,
  settlesAt: Number.POSITIVE_INFINITY,
  ailment: null,
  strikes: 0,
  checkFailure: null,
  rssBytes: 0,
};
const draining: Draining = {
  ...who,
  phase: 'draining',
  since: 700,
  byItself: false,
  withdrew: false,
  open: null,
  drained: false,
  account: nothing,
  next: 'SIGTERM',
  deadline: 3200,
};
const unfit: Worker = { ...who, phase: 'unfit', failure: timedOut, next: 'SIGKILL', deadline: 1110 };
const stopped: Worker = { ...who, phase: 'stopped', exit: codeZero, account: nothing };
const crashed: Worker = { ...who, phase: 'crashed', failure: codeOne };

type Told = Report extends infer R
  ? R extends { worker: number; generation: number; type: `worker-${string}` }
    ? Omit<R, 'worker' | 'generation'>
    : never
  : never;

function told(what: Told): Effect {
  return { type: 'report', report: { ...what, worker: 7, generation: 3 } as Report };
}

function kill(signal: 'SIGTERM' | 'SIGKILL'): Effect {
  return { type: 'signal', worker: 7, signal };
}

function withdrawnAt(now: number): WorkerStep {
  return [{ ...draining, since: now, byItself: true, withdrew: true, deadline: now + DRAIN_MS }, told({ type: 'worker-draining', byItself: true })];
}

/** It withdrew, and nobody waits for it to settle. */
function disconnectedAt(now: number): WorkerStep {
  const [worker, ...effects] = withdrawnAt(now);
  return [{ ...(worker as Draining), open: 0 }, ...effects];
}

/** It drained, and this is what became of its connections. */
function stoppedWith(account: ConnectionAccount): WorkerStep {
  return [{ ...who, phase: 'stopped', exit: codeOne, account }, told({ type: 'worker-stopped', exit: codeOne })];
}

function crashedBy(failure: Failure): WorkerStep {
  return [{ ...who, phase: 'crashed', failure }, told({ type: 'worker-crashed', failure })];
}

function unfitAt(now: number, failure: Failure): WorkerStep {
  return [{ ...who, phase: 'unfit', failure, next: 'SIGKILL', deadline: now + 100 }, told({ type: 'worker-unfit', failure }), kill('SIGTERM')];
}

type Happening = WorkerStepEvent['type'];
/** What happens at which time → what becomes of the worker and what is to be done. */
type Row = readonly [happening: Happening, now: number, expected: WorkerStep];

/** Each row as it says; every event that no row names changes nothing, early and late; but where a worker listens is always known. */
function table(before: Worker, rows: readonly Row[]): void {
  for (const [happening, now, expected] of rows) {
    test(`${happening} at ${now} → ${expected[0].phase}`, () => assert.deepEqual(step(before, eventOf(happening, now), policy), expected));
  }
  for (const { type } of everyEvent(7, 0).filter((event) => event.type !== 'worker-addresses' && !rows.some(([happening]) => happening === event.type))) {
    test(`${type} changes nothing`, () => {
      for (const now of [0, 1e9]) assert.deepEqual(step(before, eventOf(type, now), policy), [before]);
    });
  }
}

function eventOf(happening: Happening, now: number): WorkerStepEvent {
  const event = everyEvent(7, now).find(({ type }) => type === happening);
  assert.ok(event);
  return event;
}

test('a new worker is spawned with the ready timeout as its deadline', () => {
  assert.deepEqual(spawn({ id: 7, generation: 3, index: 1 }, 10, policy), [
    starting,
    { type: 'spawn', worker: 7, generation: 3, index: 1 },
    told({ type: 'worker-spawned' }),
  ]);
});

describe('starting', () => {
  table(starting, [
    ['worker-listening', 400, [listening]],
    ['worker-preflight-failed', 400, [{ ...starting, preflight: unhealthy }, told({ type: 'worker-preflight-failed', failure: unhealthy })]],
    ['worker-ready', 400, [ready, told({ type: 'worker-ready', afterMs: 390 })]],
    ['worker-withdrew', 400, withdrawnAt(400)],
    ['worker-supplanted', 400, unfitAt(400, { reason: 'supplanted' })],
    ['worker-exited', 400, crashedBy(codeOne)],
    ['tick', 1009, [starting]],
    ['tick', 1010, unfitAt(1010, timedOut)],
  ]);
});

describe('starting, and perhaps a program that listens nowhere', () => {
  const [quiet] = spawn({ id: 7, generation: 3, index: who.index }, 10, policy, 500);
  const tick = (worker: Worker, now: number) => step(worker, { type: 'tick', now }, policy);
  const [asked] = tick(quiet, 510);

  test('one that listens only when it serves is no job from then on, and that is told once', () => {
    const job: Serving = { ...serving, isJob: true };
    const [server, ...effects] = step(job, eventOf('worker-listening', 700), policy);
    assert.deepEqual([server, effects], [serving, [told({ type: 'worker-listens' })]]);
    assert.deepEqual(step(server, eventOf('worker-listening', 800), policy), [serving]);
  });

  test('it is asked once whether its event loop turns; who answers is ready', () => {
    assert.deepEqual(tick(quiet, 509), [quiet]);
    assert.deepEqual(tick(quiet, 510), [asked, { type: 'ask', worker: 7 }]);
    assert.deepEqual(tick(asked, 511), [asked]);
    assert.deepEqual(step(asked, eventOf('worker-answered', 520), policy), [{ ...ready, isJob: true }, told({ type: 'worker-ready', afterMs: 510 })]);
  });

  test('who does not answer is not ready within the ready timeout', () => {
    assert.deepEqual(tick(asked, 1010), unfitAt(1010, timedOut));
  });

  for (const happening of ['worker-asked', 'worker-listening', 'worker-preflight-failed', 'worker-disconnected'] as const) {
    test(`after ${happening} it is another kind of program: nobody asks it`, () => {
      const [worker] = step(quiet, eventOf(happening, 400), policy);
      assert.deepEqual(tick(worker, 510), [worker]);
    });
  }

  test('an answer to another question means nothing', () => {
    assert.deepEqual(step(quiet, eventOf('worker-answered', 400), policy), [quiet]);
    const [listens] = step(asked, eventOf('worker-asked', 515), policy);
    assert.deepEqual(step(listens, eventOf('worker-answered', 520), policy), [listens]);
  });
});

describe('starting and listening', () => {
  table(listening, [
    ['worker-listening', 400, [listening]],
    ['worker-preflight-failed', 400, [{ ...listening, preflight: unhealthy }, told({ type: 'worker-preflight-failed', failure: unhealthy })]],
    ['worker-ready', 400, [ready, told({ type: 'worker-ready', afterMs: 390 })]],
    ['worker-withdrew', 400, withdrawnAt(400)],
    ['worker-disconnected', 400, disconnectedAt(400)],
    ['worker-supplanted', 400, unfitAt(400, { reason: 'supplanted' })],
    ['worker-exited', 400, crashedBy(codeOne)],
    ['tick', 1010, unfitAt(1010, { ...timedOut, listening: true })],
  ]);
});

describe('listening, and not healthy', () => {
  const ill: Worker = { ...listening, preflight: unhealthy };

  function afterFailure(failure: HealthFailure): WorkerStep {
    return step(ill, { type: 'worker-preflight-failed', worker: 7, now: 500, failure }, policy);
  }

  test('the ready timeout tells the last failure', () => {
    assert.deepEqual(step(ill, { type: 'tick', now: 1009 }, policy), [ill]);
    assert.deepEqual(step(ill, { type: 'tick', now: 1010 }, policy), unfitAt(1010, { reason: 'preflight', timeoutMs: 1000, ...unhealthy }));
  });

  test('it may become ready', () => {
    assert.deepEqual(step(ill, eventOf('worker-ready', 400), policy), [ready, told({ type: 'worker-ready', afterMs: 390 })]);
  });

  test('a failure that differs in its body alone is remembered, but not told', () => {
    const failure = { ...unhealthy, body: 'out of disk since 7 s' };
    assert.deepEqual(afterFailure(failure), [{ ...listening, preflight: failure }]);
  });

  for (const failure of [
    { ...unhealthy, status: 503 },
    { ...unhealthy, request: '/other' },
    { request: '/healthz', error: 'no answer' },
  ]) {
    test(`another failure is told: ${JSON.stringify(failure)}`, () => {
      assert.deepEqual(afterFailure(failure), [{ ...listening, preflight: failure }, told({ type: 'worker-preflight-failed', failure })]);
    });
  }

  test('without a status the error tells failures apart', () => {
    const silent: Worker = { ...listening, preflight: { request: '/healthz', error: 'no answer' } };
    const failed = (error: string) => step(silent, { type: 'worker-preflight-failed', worker: 7, now: 500, failure: { request: '/healthz', error } }, policy);
    assert.equal(failed('no answer').length, 1);
    assert.equal(failed('no HTTP server listens').length, 2);
  });
});

describe('ready', () => {
  table(ready, [
    ['worker-withdrew', 400, withdrawnAt(400)],
    ['worker-disconnected', 400, disconnectedAt(400)],
    ['worker-supplanted', 400, unfitAt(400, { reason: 'supplanted' })],
    ['worker-exited', 400, crashedBy(codeOne)],
  ]);

  test('it is let accept, and has the ready timeout once more for it', () => {
    assert.deepEqual(admit(ready, 500, policy), [admitted, { type: 'admit', worker: 7 }]);
  });
});

describe('admitted', () => {
  table(admitted, [
    ['worker-admitted', 600, [serving, told({ type: 'worker-serving' })]],
    ['worker-admit-failed', 600, unfitAt(600, { reason: 'admit-failed', error: boom })],
    ['worker-withdrew', 600, withdrawnAt(600)],
    ['worker-disconnected', 600, disconnectedAt(600)],
    ['worker-supplanted', 600, unfitAt(600, { reason: 'supplanted' })],
    ['worker-exited', 600, crashedBy(codeOne)],
    ['tick', 1499, [admitted]],
    ['tick', 1500, unfitAt(1500, { ...timedOut, listening: true })],
  ]);
});

const blocked: Ailment = { reason: 'blocked', timeoutMs: 100 };
const illness: Ailment = { reason: 'unhealthy', ...unhealthy };

describe('serving', () => {
  table(serving, [
    ['worker-preflight-failed', 700, [serving, told({ type: 'worker-preflight-failed', failure: unhealthy })]],
    ['worker-checked', 700, [{ ...serving, strikes: 1, checkFailure: unhealthy }, told({ type: 'worker-check-failed', failure: unhealthy, strikes: 1 })]],
    ['worker-measured', 700, [{ ...serving, rssBytes: 2000 }]],
    ['worker-blocked', 700, [{ ...serving, ailment: blocked }, told({ type: 'worker-ailing', ailment: blocked })]],
    ['worker-withdrew', 700, withdrawnAt(700)],
    ['worker-disconnected', 700, disconnectedAt(700)],
    ['worker-supplanted', 700, unfitAt(700, { reason: 'supplanted' })],
    ['worker-exited', 700, crashedBy(codeOne)],
  ]);
});

describe('serving and failing health checks', () => {
  const strikes: Serving = { ...serving, strikes: 2, checkFailure: unhealthy };

  test('one too many makes it ail', () => {
    assert.deepEqual(step(strikes, eventOf('worker-checked', 700), policy), [
      { ...strikes, strikes: 3, ailment: illness },
      told({ type: 'worker-check-failed', failure: unhealthy, strikes: 3 }),
      told({ type: 'worker-ailing', ailment: illness }),
    ]);
  });

  test('one that passes begins the count anew', () => {
    assert.deepEqual(step(strikes, { type: 'worker-checked', worker: 7, now: 700, failure: null }, policy), [{ ...serving, isHealthy: true }]);
  });

  test('its ailment stays, whatever it is found to be later', () => {
    const ailing: Serving = { ...serving, ailment: illness };
    assert.deepEqual(step(ailing, { type: 'worker-checked', worker: 7, now: 700, failure: null }, policy), [{ ...ailing, isHealthy: true }]);
    assert.deepEqual(step(ailing, eventOf('worker-blocked', 700), policy), [ailing]);
    assert.deepEqual(ail(ailing, blocked), [ailing]);
  });
});

describe('draining', () => {
  const overran = told({ type: 'worker-overran', signal: 'SIGTERM' });
  const allMoved = { ...nothing, moved: { http: 2, tcp: 1 } };
  table(draining, [
    ['worker-withdrew', 800, [{ ...draining, withdrew: true }]],
    ['worker-disconnected', 800, [{ ...draining, withdrew: true, open: 0 }]],
    [
      'worker-supplanted',
      800,
      [
        { ...draining, withdrew: true, open: 0, next: 'SIGKILL', deadline: 900 },
        told({ type: 'worker-unfit', failure: { reason: 'supplanted' } }),
        kill('SIGTERM'),
      ],
    ],
    ['worker-settled', 800, [{ ...draining, open: 1, account: { ...nothing, moved: { http: 2 } } }]],
    [
      'worker-drained',
      800,
      [
        { ...draining, withdrew: true, open: 0, drained: true, account: allMoved, next: 'SIGKILL', deadline: 900 },
        told({ type: 'worker-drained', afterMs: 100, ...allMoved }),
      ],
    ],
    ['worker-exited', 800, stoppedWith({ ...nothing, moved: { http: 3 } })],
    ['tick', 3199, [draining]],
    ['tick', 3200, [{ ...draining, isDeaf: true, next: 'SIGKILL', deadline: 3300 }, overran, kill('SIGTERM')]],
  ]);

  const account = { moved: { http: 3 }, closed: { http: 2 }, cut: { tcp: 1 } };

  test('what it says of its connections is passed on', () => {
    const [, effect] = step(draining, { type: 'worker-drained', worker: 7, now: 800, ...account }, policy);
    assert.deepEqual(effect, told({ type: 'worker-drained', afterMs: 100, ...account }));
  });

  test('when it ends, its account is kept, with what had moved by then', () => {
    const [drained] = step(draining, { type: 'worker-drained', worker: 7, now: 800, ...account }, policy);
    const moved = { http: 3, tcp: 1 };
    assert.deepEqual(
      step(drained, { type: 'worker-exited', worker: 7, now: 850, exit: codeOne, chance: 0, moved }, policy),
      stoppedWith({ ...account, moved }),
    );
  });

  test('what moved after it settled takes the place of what had moved before, and is not added to it', () => {
    const [settled] = step(draining, eventOf('worker-settled', 800), policy);
    const [again] = step(settled, { type: 'worker-settled', worker: 7, now: 810, moved: { http: 4 }, open: 0 }, policy);
    assert.deepEqual(again, { ...draining, open: 1, account: { ...nothing, moved: { http: 4 } } });
    const [, told] = step(again, { type: 'worker-drained', worker: 7, now: 820, moved: { http: 5 }, closed: {}, cut: {} }, policy);
    assert.deepEqual(told?.type === 'report' && 'moved' in told.report && told.report.moved, { http: 5 });
  });

  test('what it was left with when it settled stands, also when its channel closes then', () => {
    const [settled] = step(draining, eventOf('worker-settled', 800), policy);
    const [lost] = step(settled, eventOf('worker-disconnected', 810), policy);
    assert.deepEqual(lost, { ...settled, withdrew: true });
  });

  test('a second account of the drain neither counts nor gives more time', () => {
    const [drained] = step(draining, eventOf('worker-drained', 800), policy);
    for (const late of [eventOf('worker-drained', 850), { type: 'worker-drained', worker: 7, now: 850, moved: {}, closed: { http: 9 }, cut: {} } as const]) {
      assert.deepEqual(step(drained, late, policy), [drained]);
    }
  });

  test('one that is drained and does not end gets SIGKILL after the kill timeout, without another SIGTERM', () => {
    const [drained] = step(draining, eventOf('worker-drained', 800), policy);
    assert.deepEqual(signalsAt(drained, [899, 900]), ['-', 'SIGKILL']);
  });
});

describe('unfit', () => {
  table(unfit, [
    ['worker-exited', 1050, crashedBy(timedOut)],
    ['tick', 1109, [unfit]],
    ['tick', 1110, [{ ...unfit, deadline: 2110 }, told({ type: 'worker-overran', signal: 'SIGKILL' }), kill('SIGKILL')]],
  ]);
});

describe('stopped', () => table(stopped, []));
describe('crashed', () => table(crashed, []));

/** The signal sent at each of these ticks. */
function signalsAt(worker: Worker, ticks: readonly number[]): string[] {
  let current = worker;
  return ticks.map((now) => {
    const [next, ...effects] = step(current, { type: 'tick', now }, policy);
    current = next;
    return effects.map((effect) => (effect.type === 'signal' ? effect.signal : '')).join('') || '-';
  });
}

describe('deadlines', () => {
  test('an overrun drain gets SIGTERM, then SIGKILL, then SIGKILL every second', () => {
    const signals = signalsAt(draining, [3199, 3200, 3299, 3300, 4299, 4300, 5300]);
    assert.deepEqual(signals, ['-', 'SIGTERM', '-', 'SIGKILL', '-', 'SIGKILL', 'SIGKILL']);
  });

  test('an unfit worker gets SIGKILL after the kill timeout, then every second', () => {
    assert.deepEqual(signalsAt(unfit, [1109, 1110, 2109, 2110, 3110]), ['-', 'SIGKILL', '-', 'SIGKILL', 'SIGKILL']);
  });

  test('a late tick sends one signal, not all that were missed', () => {
    assert.deepEqual(signalsAt(draining, [1e6, 1e6]), ['SIGTERM', '-']);
  });
});

describe('drain', () => {
  for (const worker of [listening, ready, admitted, serving]) {
    test(`${worker.phase} is told to drain, with the drain timeout`, () => {
      assert.deepEqual(drain(worker, 700, policy), [draining, told({ type: 'worker-draining', byItself: false }), { type: 'drain', worker: 7, times }]);
    });
  }

  test('a starting worker that does not listen yet gets only the kill timeout', () => {
    const [worker, ...effects] = drain(starting, 700, policy);
    assert.deepEqual(worker, { ...draining, deadline: 800 });
    assert.deepEqual(effects, [told({ type: 'worker-draining', byItself: false }), { type: 'drain', worker: 7, times }]);
  });

  test('one whose event loop does not turn gets only the kill timeout, any other that ails the drain timeout', () => {
    const deadlineOf = (ailment: Ailment) => drain({ ...serving, ailment }, 700, policy)[0];
    assert.deepEqual(deadlineOf(blocked), { ...draining, isDeaf: true, deadline: 800 });
    assert.deepEqual(deadlineOf(illness), draining);
  });

  test('who is blocked is waited for 5 s before SIGTERM, and after it, however long others may take to end', () => {
    const patient = policyWith({ killTimeoutMs: 60_000 });
    const [deaf] = drain({ ...serving, ailment: blocked }, 700, patient);
    const [told, ...effects] = step(deaf, { type: 'tick', now: 5700 }, patient);
    assert.deepEqual(effects.at(-1), kill('SIGTERM'));
    assert.deepEqual(step(told, { type: 'tick', now: 10_700 }, patient).at(-1), kill('SIGKILL'));
  });

  test('who has not heard of the drain by its deadline is blocked, and waited for no longer; who has, has the whole kill timeout', () => {
    const patient = policyWith({ killTimeoutMs: 60_000 });
    for (const [withdrew, killedAt] of [
      [false, 8200],
      [true, 63_200],
    ] as const) {
      const [told] = step({ ...draining, withdrew }, { type: 'tick', now: 3200 }, patient);
      assert.deepEqual(step(told, { type: 'tick', now: killedAt - 1 }, patient), [told]);
      assert.deepEqual(step(told, { type: 'tick', now: killedAt }, patient).at(-1), kill('SIGKILL'));
    }
  });

  for (const worker of [draining, unfit, stopped, crashed]) {
    test(`${worker.phase} is told nothing`, () => assert.deepEqual(drain(worker, 700, policy), [worker]));
  }
});

describe('cut', () => {
  test('a draining worker gets SIGTERM before its deadline, then has the kill timeout', () => {
    const [worker, ...effects] = cut(draining, 800, policy);
    assert.deepEqual(worker, { ...draining, next: 'SIGKILL', deadline: 900 });
    assert.deepEqual(effects, [told({ type: 'worker-overran', signal: 'SIGTERM' }), kill('SIGTERM')]);
  });

  test('one that had its SIGTERM is not cut again', () => {
    const [once] = cut(draining, 800, policy);
    assert.deepEqual(cut(once as Draining, 810, policy), [once]);
  });
});

describe('a job, which need not listen', () => {
  const job = policyWith({ restart: 'on-failure' });

  test('is ready when it has lived for the ready timeout', () => {
    assert.deepEqual(step(starting, { type: 'tick', now: 1010 }, job), [{ ...ready, isJob: true }, told({ type: 'worker-ready', afterMs: 1000 })]);
  });

  test('need not answer when it is admitted', () => {
    const [admitted] = admit({ phase: 'ready', id: 7, generation: 3, index: 1, spawnedAt: 10, addresses: [], isJob: true }, 1010, job);
    const [serving] = step(admitted, { type: 'tick', now: 2010 }, job);
    assert.ok(serving.phase === 'serving' && serving.isJob);
  });

  for (const [what, worker] of [
    ['listens', listening],
    ['has a health page that fails', { ...starting, preflight: unhealthy }],
  ] as const) {
    test(`is unfit then if it ${what}`, () => assert.equal(step(worker, { type: 'tick', now: 1010 }, job)[0].phase, 'unfit'));
  }

  test('that has completed is stopped, and its account is kept', () => {
    const account = { ...nothing, closed: { http: 1 } };
    assert.deepEqual(complete(serving, codeZero, { tcp: 1 }), { ...stopped, account: { ...nothing, moved: { tcp: 1 } } });
    assert.deepEqual(complete({ ...draining, account }, codeZero, {}), { ...stopped, account });
  });
});

test('a worker is wanted until it drains or fails, and gone when its process is', () => {
  const all = [starting, ready, admitted, serving, draining, unfit, stopped, crashed];
  assert.deepEqual(all.filter(isWanted), [starting, ready, admitted, serving]);
  assert.deepEqual(all.filter(isGone), [stopped, crashed]);
});
