/** What must hold after every step of the fleet, whatever happened. */
import assert from 'node:assert/strict';
import type { Report } from '../../../src/core/effect.ts';
import type { ConnectionAccount, ConnectionCounts, FleetEvent } from '../../../src/core/event.ts';
import type { Fleet } from '../../../src/core/fleet.ts';
import { hasPlace } from '../../../src/core/state.ts';
import { isWanted, type Worker } from '../../../src/core/worker-state.ts';
import { onlyNonsenseIsRefused, requestsAreAnsweredOnce, requestsAreServedInTurn, rollbacksGoBack } from './answers.ts';
import {
  aCommitBringsTheWantedWorkers,
  aReloadTakesNobodyAway,
  nobodyIsTooMuch,
  nothingRunsTwice,
  oneIsRecycledAtATime,
  theEndHasAReason,
  thoseWhoServeSuffice,
  ticksDoWhatIsDue,
} from './capacity.ts';
import type { Watch } from './world.ts';

/** Watches one fleet from its beginning. */
export function invariants(): Watch {
  const watches: readonly Watch[] = [
    nothingFollowsTheEnd(),
    nobodyIsAddressedWhoIsGone(),
    numbersGrow(),
    requestsAreAnsweredOnce(),
    requestsAreServedInTurn(),
    rollbacksGoBack(),
    onlyNonsenseIsRefused,
    connectionsAreCountedOnce(),
    thoseWhoServeSuffice,
    nobodyIsTooMuch,
    nothingRunsTwice,
    aReloadTakesNobodyAway,
    aCommitBringsTheWantedWorkers,
    oneIsRecycledAtATime(),
    theEndHasAReason,
    ticksDoWhatIsDue,
    deadlinesAreFinite,
    stopWins,
    oneUncommittedGeneration,
    indicesAreOnesOwn,
  ];
  return (...step) => {
    for (const watch of watches) watch(...step);
  };
}

/** Of those who serve or are on their way to, in one generation. */
function indicesAreOnesOwn(_before: Fleet, _event: FleetEvent, after: Fleet): void {
  const places = after.workers.filter((worker) => isWanted(worker) && hasPlace(after, worker)).map(({ generation, index }) => `${generation}: ${index}`);
  assert.equal(new Set(places).size, places.length, `two workers of a generation have an index: ${places}`);
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

/**
 * What workers tell of their connections while they drain, and at their end, is what the reports say: when a reload is over,
 * and when a generation is gone, which is told once of each. What ended before its generation was replaced is not part of it.
 */
function connectionsAreCountedOnce(): Watch {
  const ended = new Map<number, ConnectionAccount>();
  const draining = new Map<number, ConnectionAccount>();
  return (before, event, after, effects) => {
    const reports = effects.flatMap((effect) => (effect.type === 'report' ? [effect.report] : []));
    for (const report of reports) if (report.type === 'reload-committed' && !report.hasPreviousEnded) ended.delete(report.previous);
    // where the old workers end first, that is where it begins
    if (before.reload.phase === 'resolving' && 'policy' in after.reload && !after.reload.policy.overlaps) ended.delete(before.generation);
    const teller = 'worker' in event ? workerOf(before, event.worker) : undefined;
    if (teller?.phase === 'draining') {
      const account = accountAfter(draining.get(teller.id) ?? nothing, event, teller.drained);
      draining.set(teller.id, account);
      if (event.type === 'worker-exited') ended.set(teller.generation, sum([ended.get(teller.generation) ?? nothing, account]));
      if (event.type === 'worker-exited') draining.delete(teller.id);
    }
    for (const report of reports) {
      if (report.type !== 'reload-finished' || report.outcome !== 'committed') continue;
      const left = after.workers.filter(({ generation }) => generation === report.previous).map(({ id }) => draining.get(id) ?? nothing);
      assert.deepEqual(report.connections, sum([ended.get(report.previous) ?? nothing, ...left]));
    }
    assertGone(before, after, reports, ended);
    assert.ok(Object.keys(after.accounts).length <= 4 + new Set(after.workers.map(({ generation }) => generation)).size, 'accounts are forgotten');
  };
}

/** Generations whose last worker has ended are told once, with all that their workers told. */
function assertGone(before: Fleet, after: Fleet, reports: readonly Report[], ended: Map<number, ConnectionAccount>): void {
  const generationsOf = (fleet: Fleet) => [...new Set(fleet.workers.map(({ generation }) => generation))];
  const gone = generationsOf(before).filter((generation) => generation < after.generation && !generationsOf(after).includes(generation));
  const told = reports.filter((report) => report.type === 'generation-gone');
  assert.deepEqual(
    told.map(({ moved, closed, cut, generation }) => ({ generation, moved, closed, cut })),
    gone.map((generation) => ({ generation, ...(ended.get(generation) ?? nothing) })),
  );
}

const nothing: ConnectionAccount = { moved: {}, closed: {}, cut: {} };

/** What a draining worker has told, by this event and before. */
function accountAfter(account: ConnectionAccount, event: FleetEvent, wasDrained: boolean): ConnectionAccount {
  if (event.type === 'worker-settled' || event.type === 'worker-exited') return { ...account, moved: event.moved };
  return event.type === 'worker-drained' && !wasDrained ? { moved: event.moved, closed: event.closed, cut: event.cut } : account;
}

function sum(accounts: readonly ConnectionAccount[]): ConnectionAccount {
  return { moved: add(accounts.map(({ moved }) => moved)), closed: add(accounts.map(({ closed }) => closed)), cut: add(accounts.map(({ cut }) => cut)) };
}

function add(counts: readonly ConnectionCounts[]): ConnectionCounts {
  const all: Record<string, number> = {};
  for (const [kind, count] of counts.flatMap((byKind) => Object.entries(byKind))) all[kind] = (all[kind] ?? 0) + count;
  return all;
}

const deadlinesAreFinite: Watch = (_before, event, after) => {
  for (const worker of after.workers) {
    if (worker.phase === 'ready' || worker.phase === 'serving') continue;
    assert.ok('deadline' in worker && Number.isFinite(worker.deadline), `${worker.phase} has a deadline, and who is gone is forgotten`);
    if (event.type === 'tick') assert.ok(worker.deadline > event.now, 'a tick leaves nothing overdue');
  }
};

const stopWins: Watch = (before, event, after, effects) => {
  if (before.phase === 'running' && after.phase === 'running' && event.type !== 'stop-requested') return;
  assert.notEqual(after.phase, 'running');
  const late = event.type === 'scale-requested' ? [] : effects; // it starts workers before anything else is looked at
  for (const { type } of late) assert.ok(!['spawn', 'admit', 'resolve'].includes(type), `${type} after the stop`);
  for (const worker of after.workers) assert.ok(!isWanted(worker), `worker ${worker.id} is still wanted after the stop`);
};

const oneUncommittedGeneration: Watch = (_before, _event, after) => {
  const current = after.reload.phase === 'idle' ? after.generation : after.reload.generation;
  for (const worker of after.workers.filter(isWanted))
    assert.ok([after.generation, current].includes(worker.generation), `worker ${worker.id} belongs nowhere`);
};

function workerOf(fleet: Fleet, id: number): Worker | undefined {
  return fleet.workers.find((worker) => worker.id === id);
}
