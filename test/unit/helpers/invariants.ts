/** What must hold after every step of the fleet, whatever happened. */
import assert from 'node:assert/strict';
import type { FleetEvent } from '../../../src/core/event.ts';
import type { Fleet } from '../../../src/core/fleet.ts';
import { isWanted, type Worker } from '../../../src/core/worker.ts';
import type { Watch } from './world.ts';

/** Watches one fleet from its beginning. */
export function invariants(): Watch {
  const watches = [nothingFollowsTheEnd(), nobodyIsAddressedWhoIsGone(), numbersGrow(), requestsAreAnsweredOnce()];
  return (...step) => {
    for (const watch of watches) watch(...step);
    aReloadTakesNobodyAway(...step);
    aCommitBringsTheWantedWorkers(...step);
    deadlinesAreFinite(...step);
    stopWins(...step);
    oneUncommittedGeneration(...step);
  };
}

function nothingFollowsTheEnd(): Watch {
  let hasEnded = false;
  return (before, _event, after, effects) => {
    if (hasEnded) {
      assert.equal(after, before);
      assert.deepEqual(effects, []);
    }
    assert.ok(
      effects.findIndex(({ type }) => type === 'exit') === (after.phase === 'ended' && !hasEnded ? effects.length - 1 : -1),
      'the exit is the last effect',
    );
    hasEnded = after.phase === 'ended';
  };
}

function nobodyIsAddressedWhoIsGone(): Watch {
  const living = new Set<number>();
  return (_before, event, _after, effects) => {
    if (event.type === 'worker-exited') living.delete(event.worker);
    for (const effect of effects) {
      if (effect.type === 'spawn') living.add(effect.worker);
      else if ('worker' in effect) assert.ok(living.has(effect.worker), `${effect.type} to worker ${effect.worker}, who is gone`);
    }
  };
}

function numbersGrow(): Watch {
  let lastWorker = 0;
  let lastGeneration = 0;
  return (_before, _event, _after, effects) => {
    for (const effect of effects) {
      if (effect.type === 'spawn') {
        assert.ok(effect.worker > lastWorker, 'worker ids grow');
        assert.ok(effect.generation <= lastGeneration, 'a generation is resolved before it is spawned');
        lastWorker = effect.worker;
      }
      if (effect.type !== 'resolve') continue;
      assert.ok(effect.generation > lastGeneration, 'generations grow');
      lastGeneration = effect.generation;
    }
  };
}

/** A reload takes on everybody who waits, so that any number of requests make one more; each is answered once, at the latest at the end. */
function requestsAreAnsweredOnce(): Watch {
  let waiting: number[] = [];
  const open = new Set<number>();
  return (before, event, _after, effects) => {
    if (event.type === 'reload-requested' && before.phase !== 'ended') {
      waiting.push(event.request);
      open.add(event.request);
    }
    for (const report of effects.flatMap((effect) => (effect.type === 'report' ? [effect.report] : []))) {
      if (report.type === 'reload-started') {
        assert.deepEqual(report.requests, waiting);
        waiting = [];
      }
      if (report.type !== 'reload-finished') continue;
      for (const request of report.requests) assert.ok(open.delete(request), `request ${request} is answered twice`);
      waiting = waiting.filter((request) => open.has(request));
    }
    if (effects.some(({ type }) => type === 'exit')) assert.deepEqual([...open], [], 'all are answered at the end');
  };
}

/** While the fleet runs, a worker of the committed generation stops serving only by an event of its own. */
const aReloadTakesNobodyAway: Watch = (before, event, after, effects) => {
  if (after.phase !== 'running') return;
  for (const worker of before.workers) {
    if (worker.phase !== 'serving' || worker.generation !== after.generation || isAbout(event, worker)) continue;
    assert.equal(workerOf(after, worker.id)?.phase, 'serving', `worker ${worker.id} is taken away by ${event.type}`);
  }
  for (const effect of effects) {
    if (effect.type !== 'drain') continue;
    const generation = workerOf(after, effect.worker)?.generation;
    assert.notEqual(generation, after.generation, `worker ${effect.worker} of the committed generation is told to drain`);
  }
};

/** When the old generation is told to drain, the new one serves in full. */
const aCommitBringsTheWantedWorkers: Watch = (before, _event, after) => {
  if (after.generation === before.generation) return;
  const serving = after.workers.filter(({ phase, generation }) => phase === 'serving' && generation === after.generation);
  assert.equal(serving.length, after.policy.workers);
};

const deadlinesAreFinite: Watch = (_before, event, after) => {
  for (const worker of after.workers) {
    if (worker.phase === 'ready' || worker.phase === 'serving') continue;
    assert.ok('deadline' in worker && Number.isFinite(worker.deadline), `${worker.phase} has a deadline, and who is gone is forgotten`);
    if (event.type === 'tick') assert.ok(worker.deadline > event.now, 'a tick leaves nothing overdue');
  }
};

const stopWins: Watch = (before, event, after, effects) => {
  if (before.phase === 'running' && event.type !== 'stop-requested') return;
  assert.notEqual(after.phase, 'running');
  for (const { type } of effects) assert.ok(!['spawn', 'admit', 'resolve'].includes(type), `${type} after the stop`);
  for (const worker of after.workers) assert.ok(!isWanted(worker), `worker ${worker.id} is still wanted after the stop`);
};

const oneUncommittedGeneration: Watch = (_before, _event, after) => {
  const current = after.reload.phase === 'idle' ? after.generation : after.reload.generation;
  for (const worker of after.workers.filter(isWanted))
    assert.ok([after.generation, current].includes(worker.generation), `worker ${worker.id} belongs nowhere`);
};

function isAbout(event: FleetEvent, worker: Worker): boolean {
  return 'worker' in event && event.worker === worker.id;
}

function workerOf(fleet: Fleet, id: number): Worker | undefined {
  return fleet.workers.find((worker) => worker.id === id);
}
