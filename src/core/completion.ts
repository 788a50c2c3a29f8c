/** When the fleet has nothing left to do: its workers have completed, or it gives up on them. PURE. */
import { noCrashes, quietAt } from './backoff.ts';
import type { Exit, Policy } from './event.ts';
import { placesTaken, vacantPlaces } from './places.ts';
import { type Fleet, type FleetStep, isUncommitted, report } from './state.ts';
import { isWanted, type Worker } from './worker-state.ts';

/** An end like this is the end: nobody is started in its place. */
export function completes(exit: Exit, restart: Policy['restart']): boolean {
  if (exit.reason === 'spawn-failed' || restart === 'always') return false;
  return restart === 'never' || isClean(exit) || isAsked(exit);
}

/** The worker was not told to end. */
export function endsByItself(worker: Worker): boolean {
  return isWanted(worker) || (worker.phase === 'draining' && worker.byItself);
}

/**
 * A first generation that listens nowhere was taken for ready since it was quiet. Who of it ends within the ready timeout may have been a server that never came so
 * far, and there is no release to go back to: the start has failed, as it would have a moment before.
 */
export function isFalseStart({ generation, previous, listening, restarts, policy }: Fleet, worker: Worker, now: number): boolean {
  const isFirst = generation > 0 && previous === 0 && worker.generation === generation && restarts === 0;
  return isFirst && 'isJob' in worker && !listening.includes(generation) && now < worker.spawnedAt + policy.readyTimeoutMs;
}

/** Every worker has completed, and no reload is to bring others: so has the master. */
export function completionRule(fleet: Fleet): FleetStep {
  if (fleet.phase !== 'running' || fleet.completed.length === 0) return [fleet];
  return isDone(fleet) ? [{ ...fleet, phase: 'stopping' }] : [fleet];
}

function isDone(fleet: Fleet): boolean {
  const { completed, reload, generation, queued } = fleet;
  if (generation === 0) return 'policy' in reload && completed.length >= reload.policy.workers;
  return reload.phase === 'idle' && queued.length === 0 && vacantPlaces(fleet) === 0 && placesTaken(fleet).length === 0;
}

/** A crash loop ends with a quiet window; one that has lasted too long ends the master. */
export function loopRule(fleet: Fleet, now: number): FleetStep {
  const { generation, backoff } = fleet;
  if (now >= loopEnd(fleet)) return [{ ...fleet, backoff: noCrashes }];
  if (now < giveUpDeadline(fleet)) return [fleet];
  const told = report({ type: 'gave-up', generation, crashes: backoff.streak, afterMs: now - (backoff.loopingSince ?? now) });
  return [{ ...fleet, phase: 'stopping', failure: { reason: 'crash-loop', crashes: backoff.streak } }, told];
}

/** When the crash loop will be over, or will have lasted too long; Infinity: there is none. */
export function loopDeadline(fleet: Fleet): number {
  return Math.min(loopEnd(fleet), giveUpDeadline(fleet));
}

function loopEnd({ phase, backoff, policy }: Fleet): number {
  return phase === 'running' && backoff.isLooping ? quietAt(backoff, policy) : Number.POSITIVE_INFINITY;
}

/** Whoever is starting may still put an end to it, and so may a reload: only while somebody is missing it has lasted too long. */
function giveUpDeadline(fleet: Fleet): number {
  const { loopingSince } = fleet.backoff;
  const { giveUpAfterMs } = fleet.policy;
  if (loopingSince === null || giveUpAfterMs === null || vacantPlaces(fleet) === 0 || isUncommitted(fleet.reload)) return Number.POSITIVE_INFINITY;
  return loopingSince + giveUpAfterMs;
}

/** How all of it ended: by the first that failed, if one did. */
export function verdictOf(completed: readonly Exit[]): Exit | null {
  return completed.find((exit) => !isClean(exit)) ?? completed[0] ?? null;
}

/** Those that failed last, as the verdict is theirs. */
export function cleanFirst(completed: readonly Exit[]): Exit[] {
  return [...completed].sort((a, b) => Number(isClean(b)) - Number(isClean(a)));
}

/** Somebody has asked it to end, and it has: no failure, but no success either. */
function isAsked(exit: Exit): boolean {
  return exit.reason === 'signal' && exit.signal === 'SIGTERM';
}

function isClean(exit: Exit): boolean {
  return exit.reason === 'exit' && exit.code === 0;
}
