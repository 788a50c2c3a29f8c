/**
 * The places of the serving generation: who has one, who is missing, who leaves because another took over. PURE.
 * An ailing worker goes on serving without a place, so that somebody is started for it; when so many serve as are wanted, it drains.
 */
import { afterCrash, type Backoff } from './backoff.ts';
import type { Effect } from './effect.ts';
import { admitAll, eachWorker, type Fleet, type FleetStep, hasPlace, isMakingWay, isUncommitted, policyOf, report, spawnWorkers } from './state.ts';
import { ail } from './worker.ts';
import { drain } from './worker-end.ts';
import { type Draining, isGone, isWanted, type Serving, type Worker } from './worker-state.ts';

/** Share of the longest age by which workers differ, so that they are not replaced all at once. */
const AGE_SPREAD = 0.1;

/** Workers of the serving generation that serve, or are on their way to, and are not to be replaced. */
export function placesTaken(fleet: Fleet): Worker[] {
  return fleet.workers.filter((worker) => worker.generation === fleet.generation && hasPlace(fleet, worker));
}

/** Places that nobody has. */
export function vacantPlaces(fleet: Fleet): number {
  return fleet.phase !== 'running' || fleet.generation === 0 ? 0 : Math.max(0, wantedWorkers(fleet) - placesTaken(fleet).length);
}

/** How many more may be started for them. */
export function missingWorkers(fleet: Fleet): number {
  return Math.max(0, Math.min(vacantPlaces(fleet), room(fleet)));
}

/** So many may be started now: where nothing runs twice, none while one of another generation is left, or one that is to be replaced. */
function room(fleet: Fleet): number {
  if (isMakingWay(fleet)) return 0;
  if (fleet.policy.overlaps) return Number.POSITIVE_INFINITY;
  const living = fleet.workers.filter((worker) => !isGone(worker));
  return living.some(({ generation }) => generation !== fleet.generation) ? 0 : wantedWorkers(fleet) - living.length;
}

/** The serving generation has as many workers as wanted, and each that is ready may accept. */
export function wantedRule(fleet: Fleet, now: number): FleetStep {
  const missing = missingWorkers(fleet);
  if (missing === 0 || now < fleet.backoff.nextStartAt) return admitAll(fleet, fleet.generation, now);
  const [spawned, ...effects] = spawnWorkers({ ...fleet, restarts: fleet.restarts + missing }, fleet.generation, missing, now);
  const [admitted, ...more] = admitAll(spawned, fleet.generation, now);
  return [admitted, ...effects, ...more];
}

/** So many places were lost at once: that delays the next start. */
export function countCrashes(fleet: Fleet, count: number, now: number, chance: number): FleetStep {
  const { generation, policy } = fleet;
  const backoff = Array.from({ length: count }).reduce<Backoff>((sum) => afterCrash(sum, now, chance, policy), fleet.backoff);
  const told: Effect[] = [];
  if (backoff.isLooping && !fleet.backoff.isLooping) told.push(report({ type: 'crash-loop', generation, crashes: backoff.streak }));
  if (backoff.nextStartAt > now) {
    told.push(report({ type: 'restart-scheduled', generation, missing: vacantPlaces(fleet), delayMs: backoff.nextStartAt - now }));
  }
  return [{ ...fleet, backoff }, ...told];
}

/** One worker that is too big or too old is to be replaced, and only when the one before is gone. */
export function recycleRule(fleet: Fleet, now: number): FleetStep {
  if (!mayRecycle(fleet)) return [fleet];
  const { maxMemoryBytes, restartWindowMs } = fleet.policy;
  const own = servingOf(fleet);
  const big = own.filter(({ rssBytes }) => maxMemoryBytes !== null && rssBytes > maxMemoryBytes).sort((a, b) => b.rssBytes - a.rssBytes)[0];
  const old = own.filter((worker) => now >= ageDeadline(fleet, worker)).sort((a, b) => a.since - b.since)[0];
  if (big && maxMemoryBytes !== null) {
    const [ailing, ...effects] = change(fleet, big, ail(big, { reason: 'memory', rssBytes: big.rssBytes, limitBytes: maxMemoryBytes }));
    // a limit that new workers reach at once must not have them replaced without a pause
    const [next, ...told] = countCrashes(ailing, now - big.since < restartWindowMs ? 1 : 0, now, 0.5);
    return [next, ...effects, ...told];
  }
  return old ? change(fleet, old, ail(old, { reason: 'age', ageMs: now - old.since })) : [fleet];
}

/** When the next worker will be too old; Infinity: none will, or it must wait for something else. */
export function nextAgeDeadline(fleet: Fleet): number {
  if (!mayRecycle(fleet)) return Number.POSITIVE_INFINITY;
  return Math.min(Number.POSITIVE_INFINITY, ...servingOf(fleet).map((worker) => ageDeadline(fleet, worker)));
}

/** Ailing workers drain as far as others serve in their stead, or at once where these can only follow; whoever is more than wanted drains as well. */
export function retireRule(fleet: Fleet, now: number): FleetStep {
  if (fleet.phase !== 'running' || fleet.generation === 0) return [fleet];
  const places = placesTaken(fleet).filter(isWanted);
  const serving = servingOf(fleet);
  const spare = fleet.policy.overlaps ? Math.max(0, serving.length - wantedWorkers(fleet)) : serving.length;
  const ailing = serving.filter(isAiling).sort((a, b) => Number(isBlocked(b)) - Number(isBlocked(a)));
  const surplus = Math.max(0, places.length - wantedWorkers(fleet));
  const leastUseful = [...places].sort((a, b) => Number(a.phase === 'serving') - Number(b.phase === 'serving') || b.index - a.index).slice(0, surplus);
  const leaving = [...ailing.slice(0, spare), ...leastUseful].map(({ id }) => id);
  return leaving.length === 0 ? [fleet] : eachWorker(fleet, (worker) => (leaving.includes(worker.id) ? drain(worker, now, policyOf(fleet, worker)) : [worker]));
}

/** It serves, and is to be replaced. */
export function isAiling(worker: Worker): worker is Serving {
  return worker.phase === 'serving' && worker.ailment !== null;
}

function isBlocked({ ailment }: Serving): boolean {
  return ailment?.reason === 'blocked';
}

/** It still accepts, or can still hand connections over. */
export function isLeaving(worker: Worker): worker is Draining {
  return worker.phase === 'draining' && (!worker.withdrew || worker.open === null);
}

/** Workers that serve in the committed generation; ailing ones included. */
export function servingOf(fleet: Fleet): Serving[] {
  return fleet.workers.filter((worker): worker is Serving => worker.phase === 'serving' && worker.generation === fleet.generation);
}

/** Those that have completed are not started again. */
export function wantedWorkers({ policy, completed }: Fleet): number {
  return Math.max(0, policy.workers - completed.length);
}

function mayRecycle(fleet: Fleet): boolean {
  if (fleet.phase !== 'running' || isUncommitted(fleet.reload) || fleet.backoff.isLooping) return false;
  const own = fleet.workers.filter(({ generation }) => generation === fleet.generation);
  return own.length === wantedWorkers(fleet) && own.every((worker) => worker.phase === 'serving' && !isAiling(worker));
}

function ageDeadline({ policy }: Fleet, { id, since }: Serving): number {
  const share = (id * 0.618_033_988_749) % 1; // spreads evenly, whatever the ids are
  return policy.maxAgeMs === null ? Number.POSITIVE_INFINITY : since + policy.maxAgeMs * (1 - AGE_SPREAD * share);
}

function change(fleet: Fleet, { id }: Worker, [changed, ...effects]: readonly [Worker, ...Effect[]]): FleetStep {
  return [{ ...fleet, workers: fleet.workers.map((worker) => (worker.id === id ? changed : worker)) }, ...effects];
}
