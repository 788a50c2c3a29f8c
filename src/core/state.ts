/** What the fleet is made of, and the few moves that several rules share. PURE. */
import { addAccounts, nothing } from './account.ts';
import type { Backoff } from './backoff.ts';
import type { Effect, Outcome, Report } from './effect.ts';
import type { ConnectionAccount, Exit, Failure, Policy } from './event.ts';
import type { Reload, Request, Uncommitted } from './reload.ts';
import { admit } from './worker.ts';
import { spawn } from './worker-start.ts';
import { isWanted, type Worker, type WorkerStep } from './worker-state.ts';

/** See `quietMsOf`. */
const FIRST_QUIET_MS = 5000;
const QUIET_MS = 2000;

/** Everything the master decides by. */
export interface Fleet {
  readonly phase: 'running' | 'stopping' | 'ended';
  /** Why the first start failed, or the fleet gave up; it is the reason of the end. */
  readonly failure: Failure | null;
  readonly isStopRequested: boolean;
  readonly isForced: boolean;
  /** Stopping has come so far that nobody is to connect any more. */
  readonly isClosed: boolean;
  readonly policy: Policy;
  /** The committed generation; 0: none yet. */
  readonly generation: number;
  /** The one before it; 0: there was none. */
  readonly previous: number;
  readonly nextGeneration: number;
  readonly nextWorker: number;
  readonly workers: readonly Worker[];
  readonly reload: Reload;
  /** Requests that came while a reload was on; together they make one more. */
  readonly queued: readonly Request[];
  readonly backoff: Backoff;
  /** Workers started in place of others that crashed or were replaced, ever. */
  readonly restarts: number;
  /** How workers of the committed generation ended that are not to be started again. */
  readonly completed: readonly Exit[];
  /** What their indices were: nobody else gets them. */
  readonly completedIndices: readonly number[];
  /** Workers that the release of the committed generation is configured for; somebody may have asked for another number since. */
  readonly configured: number;
  /** Those who wait until it is so; null: it is. */
  readonly scaling: readonly number[] | null;
  /** By generation, of its workers that have ended while others of it have not. */
  readonly accounts: Readonly<Record<number, ConnectionAccount>>;
  /** Generations of which a worker has listened: those that take their place are to do so, too. */
  readonly listening: readonly number[];
  readonly lastOutcome: (Outcome & { readonly endedAt: number }) | null;
}

/** The next fleet, and what is to be done. */
export type FleetStep = readonly [Fleet, ...Effect[]];

/** Starts `count` workers of a generation. */
export function spawnWorkers(fleet: Fleet, generation: number, count: number, now: number): FleetStep {
  const policy = policyOf(fleet, { generation });
  const quietMs = quietMsOf(fleet, generation, policy);
  const spawned = freeIndices(fleet, generation, count).map((index, at) => spawn({ id: fleet.nextWorker + at, generation, index }, now, policy, quietMs));
  const workers = [...fleet.workers, ...spawned.map(([worker]) => worker)];
  return [{ ...fleet, workers, nextWorker: fleet.nextWorker + count }, ...spawned.flatMap(([, ...effects]) => effects)];
}

/** It serves, or is on its way to, and is not to be replaced. */
export function hasPlace({ policy }: Fleet, worker: Worker): boolean {
  if (worker.phase === 'serving') return worker.ailment === null;
  // where not every end is answered by a start, a worker that drains by itself may be one that has completed
  return isWanted(worker) || (policy.restart !== 'always' && worker.phase === 'draining' && worker.byItself);
}

/** The lowest that nobody has: those of the dead and of those who are to be replaced come first. */
function freeIndices(fleet: Fleet, generation: number, count: number): number[] {
  const places = fleet.workers.filter((worker) => worker.generation === generation && hasPlace(fleet, worker));
  const taken = new Set([...places.map(({ index }) => index), ...(generation > fleet.generation && fleet.generation > 0 ? [] : fleet.completedIndices)]);
  return Array.from({ length: taken.size + count }, (_, index) => index)
    .filter((index) => !taken.has(index))
    .slice(0, count);
}

/**
 * How long a worker of a generation may be silent until it is taken for a program that listens nowhere. Of the first ones nothing is known, and a server may
 * still be connecting to its database; where those before listened, this one is to listen, however long it takes.
 */
function quietMsOf({ generation: committed, reload, listening }: Fleet, generation: number, { mustListen }: Policy): number | null {
  const before = reload.phase !== 'idle' && reload.generation === generation ? (reload.requests.at(-1)?.from ?? committed) : committed;
  if (mustListen || listening.includes(generation) || listening.includes(before)) return null;
  return committed === 0 ? FIRST_QUIET_MS : QUIET_MS;
}

/** Lets every ready worker of a generation accept. */
export function admitAll(fleet: Fleet, generation: number, now: number): FleetStep {
  if (fleet.phase !== 'running') return [fleet];
  return eachWorker(fleet, (worker) => (worker.phase === 'ready' && worker.generation === generation ? admit(worker, now, policyOf(fleet, worker)) : [worker]));
}

/** Changes each worker, and gathers what is to be done. */
export function eachWorker(fleet: Fleet, change: (worker: Worker) => WorkerStep): FleetStep {
  const steps = fleet.workers.map(change);
  return [{ ...fleet, workers: steps.map(([worker]) => worker) }, ...steps.flatMap(([, ...effects]) => effects)];
}

/** A new generation lives by its own numbers from its first worker on. */
export function policyOf(fleet: Fleet, { generation }: { readonly generation: number }): Policy {
  return 'policy' in fleet.reload && fleet.reload.generation === generation ? fleet.reload.policy : fleet.policy;
}

/** The old generation has not been told anything. */
export function isUncommitted(reload: Reload): reload is Uncommitted {
  return reload.phase !== 'idle' && reload.phase !== 'retiring';
}

/** The old generation makes way, or has, before a worker of the new one is started: it is not replaced meanwhile. */
export function isMakingWay({ generation, reload }: Fleet): boolean {
  return generation > 0 && isUncommitted(reload) && reload.phase !== 'resolving' && !reload.policy.overlaps;
}

/** What has become of the connections of a generation so far. */
export function accountOf(fleet: Fleet, generation: number): ConnectionAccount {
  const ended = fleet.accounts[generation] ?? nothing;
  const workers = fleet.workers.filter((worker) => worker.generation === generation);
  return workers.reduce((sum, worker) => ('account' in worker ? addAccounts(sum, worker.account) : sum), ended);
}

/** The effect of telling an operator. */
export function report(what: Report): Effect {
  return { type: 'report', report: what };
}
