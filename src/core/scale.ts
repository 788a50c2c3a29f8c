/** Changing the number of workers without a reload. PURE. */
import { cleanFirst } from './completion.ts';
import type { FleetEvent, Policy } from './event.ts';
import { isLeaving, missingWorkers, placesTaken, vacantPlaces } from './places.ts';
import { type Fleet, type FleetStep, report, spawnWorkers } from './state.ts';

const MOST_WORKERS = 1024;

/** The new number holds for the generations to come, too, until another one is configured. */
export function requestScale(fleet: Fleet, { request, by, change, now }: FleetEvent & { type: 'scale-requested' }): FleetStep {
  if (fleet.phase !== 'running') return [fleet, report({ type: 'request-refused', request, by, reason: 'stopping' })];
  const from = fleet.policy.workers;
  const to = Math.min(MOST_WORKERS, Math.max(1, 'to' in change ? change.to : from + change.by));
  const { reload } = fleet;
  const completed = cleanFirst(fleet.completed).slice(Math.max(0, from - to));
  const scaled: Fleet = {
    ...fleet,
    policy: { ...fleet.policy, workers: to },
    reload: 'policy' in reload ? { ...reload, policy: { ...reload.policy, workers: to } } : reload,
    // places that have completed are given up first: who is at work stays
    completed,
    completedIndices: [...fleet.completedIndices].sort((a, b) => a - b).slice(0, completed.length),
    scaling: [...(fleet.scaling ?? []), request],
  };
  const told = report({ type: 'scale-started', from, to, by });
  // at once, also where others wait for a delay
  const [grown, ...effects] = spawnWorkers(scaled, fleet.generation, Math.min(Math.max(0, to - from), missingWorkers(scaled)), now);
  return [grown, told, ...effects];
}

/** The number stays as it is unless another one is configured. */
export function scaledPolicy({ configured, policy: { workers } }: Fleet, policy: Policy): Policy {
  return configured === policy.workers ? { ...policy, workers } : policy;
}

/** Who asked to scale is answered when it is so, or can't be. */
export function scaleRule(fleet: Fleet): FleetStep {
  const { scaling, generation, workers, backoff } = fleet;
  if (scaling === null) return [fleet];
  const places = placesTaken(fleet);
  const answer = (failure: { reason: 'stopping' } | { reason: 'crash-loop'; crashes: number } | null): FleetStep => [
    { ...fleet, scaling: null },
    report({ type: 'scale-finished', workers: places.length, requests: scaling, failure }),
  ];
  if (fleet.phase !== 'running') return answer({ reason: 'stopping' });
  if (backoff.isLooping && vacantPlaces(fleet) > 0) return answer({ reason: 'crash-loop', crashes: backoff.streak });
  const isSettled =
    generation > 0 && places.every(({ phase }) => phase === 'serving') && !workers.some((worker) => worker.generation === generation && isLeaving(worker));
  return isSettled && vacantPlaces(fleet) === 0 ? answer(null) : [fleet];
}
