/** Who goes on with the connections of a worker that drains. */

import type { Fleet } from '../../core/fleet.ts';
import { servingOf } from '../../core/places.ts';
import { isMakingWay } from '../../core/state.ts';

/** Those that serve now and are not to be replaced themselves; empty: somebody is awaited; null: nobody will come. */
export function successorsOf(fleet: Fleet, worker: number): number[] | null {
  if (fleet.phase !== 'running') return null;
  const others = servingOf(fleet).flatMap(({ id, ailment }) => (id !== worker && ailment === null ? [id] : []));
  if (others.length > 0) return others;
  const isAwaited = fleet.policy.overlaps && !isMakingWay(fleet); // else somebody comes only when this one has ended
  return isAwaited && !fleet.backoff.isLooping ? others : null; // who crashes again and again is not waited for
}
