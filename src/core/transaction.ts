/**
 * The reload as a transaction: start, admit, prove, commit or roll back. PURE.
 * The old generation is told nothing before the commit; whatever fails before it ends with the new workers stopped.
 */
import { addCounts, nothing } from './account.ts';
import { noCrashes } from './backoff.ts';
import type { Outcome } from './effect.ts';
import type { ErrorReport, Failure, Policy, Stays } from './event.ts';
import { goneAddresses, type Holding, judge, type Proving, type Request, type Resolving, type Starting, type Uncommitted } from './reload.ts';
import { accountOf, admitAll, eachWorker, type Fleet, type FleetStep, policyOf, report, spawnWorkers } from './state.ts';
import { drain } from './worker-end.ts';
import { type Draining, isGone, isWanted } from './worker-state.ts';

const noCanary: ErrorReport = {
  name: 'GracefulError',
  code: 'config-invalid',
  message: 'a canary serves beside the old workers, which --no-overlap rules out',
};

/** Begins a reload; its release is resolved first. */
export function startReload(fleet: Fleet, requests: readonly Request[], now: number): FleetStep {
  const generation = fleet.nextGeneration;
  const last = requests.at(-1);
  const canary = fleet.generation === 0 ? null : (last?.canary ?? null);
  const reload: Uncommitted = { phase: 'resolving', generation, startedAt: now, requests, canary };
  return [
    { ...fleet, reload, nextGeneration: generation + 1, listening: fleet.listening.filter((known) => isRemembered(fleet, known)) },
    report({ type: 'reload-started', generation, requests: requests.map(({ id }) => id), by: requests.map(({ by }) => by) }),
    { type: 'resolve', generation, from: last?.from ?? null },
  ];
}

/** It is known what it is to be started from. */
export function resolved(
  fleet: Fleet,
  reload: Resolving,
  policy: Policy,
  { policy: { workers: configured }, dropped, now }: { policy: Policy; dropped: readonly string[]; now: number },
): FleetStep {
  if (!policy.overlaps && reload.canary !== null) return rollBack(fleet, reload, { reason: 'release-rejected', error: noCanary }, null, now);
  // where the old workers end first, what becomes of their connections from now on belongs to this reload
  const accounts = policy.overlaps ? fleet.accounts : { ...fleet.accounts, [fleet.generation]: nothing };
  return [{ ...fleet, accounts, reload: { ...reload, phase: 'starting', policy, configured, dropped } }];
}

function isRemembered({ generation, previous, workers }: Fleet, known: number): boolean {
  return known === generation || known === previous || workers.some((worker) => worker.generation === known);
}

/** Moves the reload on as far as it may go: the next step of it may need no event. */
export function reloadRule(fleet: Fleet, now: number): FleetStep {
  const [moved, ...effects] = moveOn(fleet, now);
  if (moved === fleet) return [fleet];
  const [next, ...more] = reloadRule(moved, now);
  return [next, ...effects, ...more];
}

function moveOn(fleet: Fleet, now: number): FleetStep {
  if (fleet.phase !== 'running') return [fleet];
  const { reload } = fleet;
  const verdict = judge(reload, fleet.workers, now, fleet.generation === 0 ? { completed: fleet.completed.length } : undefined);
  switch (verdict.next) {
    case 'wait':
      return [fleet];
    case 'spawn':
      return makeWay(fleet, reload as Starting, now) ?? spawnWorkers(fleet, (reload as Starting).generation, verdict.count, now);
    case 'admit':
      return admitAll({ ...fleet, reload: { ...(reload as Starting), phase: 'admitting' } }, (reload as Starting).generation, now);
    case 'hold':
      return hold(fleet, reload as Starting, verdict.holdMs, now);
    case 'promote':
      return promote(fleet, reload as Holding, 'its hold is over');
    case 'more':
      return [{ ...fleet, reload: { ...(reload as Starting), phase: 'starting' } }];
    case 'overstay':
      return [{ ...fleet, reload: { ...(reload as Holding | Proving), deadline: Number.POSITIVE_INFINITY, isOver: true } }];
    case 'prove':
      return prove(fleet, reload as Starting, now);
    case 'commit':
      return commit(fleet, reload as Proving, now);
    case 'finish':
      return finish(fleet, now);
    case 'roll-back':
      return rollBack(fleet, reload as Starting, verdict.failure, verdict.worker, now);
  }
}

/** Where nothing runs twice, all others end first. @returns undefined: nobody is in the way */
function makeWay(fleet: Fleet, { generation, policy }: Starting, now: number): FleetStep | undefined {
  const others = fleet.workers.filter((worker) => worker.generation !== generation && !isGone(worker));
  if (policy.overlaps || others.length === 0) return undefined;
  if (!others.some(isWanted)) return [fleet]; // they are on their way
  return eachWorker(fleet, (worker) => (others.includes(worker) ? drain(worker, now, policyOf(fleet, worker)) : [worker]));
}

/** The canary serves; nothing else happens until its time is over, or somebody says so. */
function hold(fleet: Fleet, reload: Starting, holdMs: number | null, now: number): FleetStep {
  const { generation, requests } = reload;
  const workers = fleet.workers.filter((worker) => worker.generation === generation).length;
  const holding: Holding = { ...reload, phase: 'holding', deadline: holdMs === null ? Number.POSITIVE_INFINITY : now + holdMs };
  return [{ ...fleet, reload: holding }, report({ type: 'reload-holding', generation, requests: requests.map(({ id }) => id), workers, holdMs })];
}

/** Ends the hold of a canary: the rest of its generation is started. */
export function promote(fleet: Fleet, reload: Holding, by: string): FleetStep {
  return [{ ...fleet, reload: { ...reload, phase: 'starting', canary: null } }, report({ type: 'reload-promoted', generation: reload.generation, by })];
}

function prove(fleet: Fleet, reload: Starting, now: number): FleetStep {
  const { generation, policy } = reload;
  // a first generation has nobody beside it to prove itself against
  const probationMs = fleet.generation === 0 ? 0 : policy.probationMs;
  const proving: Proving = { ...reload, phase: 'proving', deadline: now + probationMs };
  const isMissing = goneAddresses(reload, fleet.workers).length > 0;
  if (probationMs === 0) return isMissing ? [{ ...fleet, reload: proving }] : commit(fleet, proving, now);
  return [{ ...fleet, reload: proving }, report({ type: 'reload-probation', generation, probationMs })];
}

function commit(fleet: Fleet, reload: Proving, now: number): FleetStep {
  const { generation, startedAt, requests, policy, configured } = reload;
  const previous = fleet.generation;
  // what its workers did that have ended before is none of this reload
  const accounts = policy.overlaps ? { ...fleet.accounts, [previous]: nothing } : fleet.accounts;
  const retiring = { phase: 'retiring', generation, startedAt, requests, canary: null, previous } as const;
  const kept = previous === 0 ? {} : { completed: [], completedIndices: [] };
  const committed: Fleet = { ...fleet, ...kept, generation, previous, policy, configured, backoff: noCrashes, accounts, reload: retiring };
  const hasPreviousEnded = previous > 0 && !policy.overlaps;
  const told = report({ type: 'reload-committed', generation, previous, ...(hasPreviousEnded && { hasPreviousEnded }) });
  const [draining, ...drains] = eachWorker(committed, (worker) => (worker.generation < generation ? drain(worker, now, policy) : [worker]));
  return [draining, told, ...drains];
}

function finish(fleet: Fleet, now: number): FleetStep {
  if (fleet.reload.phase !== 'retiring') return [fleet];
  const { generation, previous, startedAt, requests } = fleet.reload;
  const left = fleet.workers.filter((worker): worker is Draining => worker.generation === previous && worker.phase === 'draining');
  const open = left.reduce((sum, worker) => sum + (worker.open ?? 0), 0);
  const stayed = left.reduce<Stays>((sum, worker) => addCounts(sum, worker.stayed ?? {}), {});
  const outcome: Outcome = {
    outcome: 'committed',
    generation,
    previous,
    connections: accountOf(fleet, previous),
    open,
    ...(Object.keys(stayed).length > 0 && { stayed }),
    requests: requests.map(({ id }) => id),
    durationMs: now - startedAt,
  };
  return [{ ...fleet, reload: { phase: 'idle' }, lastOutcome: { ...outcome, endedAt: now } }, report({ type: 'reload-finished', ...outcome })];
}

/** The new workers are stopped; the old ones were never told anything. A first start that fails ends the master. */
export function rollBack(fleet: Fleet, reload: Uncommitted, failure: Failure, worker: number | null, now: number): FleetStep {
  const { generation, startedAt, requests } = reload;
  const outcome: Outcome = { ...rolledBack(fleet, failure, worker), generation, requests: requests.map(({ id }) => id), durationMs: now - startedAt };
  const idle: Fleet = { ...fleet, reload: { phase: 'idle' }, lastOutcome: { ...outcome, endedAt: now } };
  const told = report({ type: 'reload-finished', ...outcome });
  const [drained, ...effects] = eachWorker(idle, (other) => (other.generation === generation ? drain(other, now, policyOf(fleet, other)) : [other]));
  return [fleet.generation === 0 ? { ...drained, phase: 'stopping', failure } : drained, told, ...effects];
}

/** The outcome of a reload that came to nothing. */
export function rolledBack(
  fleet: Fleet,
  failure: Failure,
  worker: number | null,
): Pick<Outcome & { outcome: 'rolled-back' }, 'outcome' | 'previous' | 'serving' | 'worker' | 'failure'> {
  const serving = fleet.workers.filter((other) => other.phase === 'serving' && other.generation === fleet.generation).length;
  return { outcome: 'rolled-back', previous: fleet.generation, serving, worker, failure };
}

/** Stopping: the reload under way and the waiting requests are answered. */
export function abandonReloads(fleet: Fleet, now: number): FleetStep {
  const { reload, queued } = fleet;
  const idle: Fleet = { ...fleet, reload: { phase: 'idle' }, queued: [] };
  if (reload.phase === 'idle' && queued.length === 0) return [fleet];
  if (reload.phase === 'retiring' && queued.length === 0) return finish(fleet, now);
  const waiting = queued.map(({ id }) => id);
  const requests = reload.phase === 'idle' || reload.phase === 'retiring' ? waiting : [...reload.requests.map(({ id }) => id), ...waiting];
  const [generation, startedAt] = reload.phase === 'idle' ? [fleet.generation, now] : [reload.generation, reload.startedAt];
  const reason = fleet.isStopRequested ? 'stopping' : 'completed';
  const outcome: Outcome = { ...rolledBack(fleet, fleet.failure ?? { reason }, null), generation, requests, durationMs: now - startedAt };
  const told = report({ type: 'reload-finished', ...outcome });
  if (reload.phase !== 'retiring') return [{ ...idle, lastOutcome: { ...outcome, endedAt: now } }, told];
  const [finished, ...effects] = finish(fleet, now);
  return [{ ...finished, queued: [] }, ...effects, told];
}
