/** Changing the number of workers without a reload. PURE. */
import type { FleetEvent } from './event.ts';
import { isLeaving, missingWorkers, placesTaken } from './places.ts';
import { type Fleet, type FleetStep, report, spawnWorkers } from './state.ts';

const MOST_WORKERS = 1024;

/** The new number holds for the generations to come, too, until another one is configured. */
export function requestScale(fleet: Fleet, { request, by, change, now }: FleetEvent & { type: 'scale-requested' }): FleetStep {
  if (fleet.phase !== 'running' || fleet.generation === 0) return [fleet, report({ type: 'request-refused', request, by, reason: 'stopping' })];
  const from = fleet.policy.workers;
  const to = Math.min(MOST_WORKERS, Math.max(1, 'to' in change ? change.to : from + change.by));
  const { reload } = fleet;
  const scaled: Fleet = {
    ...fleet,
    policy: { ...fleet.policy, workers: to },
    reload: 'policy' in reload ? { ...reload, policy: { ...reload.policy, workers: to } } : reload,
    scale: { workers: to, configured: fleet.scale?.configured ?? from },
    scaling: [...(fleet.scaling ?? []), request],
  };
  const told = report({ type: 'scale-started', from, to, by });
  const [grown, ...effects] = spawnWorkers(scaled, fleet.generation, Math.max(0, to - from), now);
  return [grown, told, ...effects];
}

/** What was configured, unless somebody has scaled since and nothing else was configured meanwhile. */
export function scaledPolicy<P extends { readonly workers: number }>({ scale }: Fleet, policy: P): P {
  return scale?.configured === policy.workers ? { ...policy, workers: scale.workers } : policy;
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
  if (backoff.isLooping && missingWorkers(fleet) > 0) return answer({ reason: 'crash-loop', crashes: backoff.streak });
  const isSettled = places.every(({ phase }) => phase === 'serving') && !workers.some((worker) => worker.generation === generation && isLeaving(worker));
  return isSettled && missingWorkers(fleet) === 0 ? answer(null) : [fleet];
}
