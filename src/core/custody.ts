/** Whose listeners are kept: custody follows use. PURE. */
import { generationsOf } from './fleet.ts';
import { missingWorkers } from './places.ts';
import { type Fleet, isUncommitted } from './state.ts';
import { hasSettled, isWanted } from './worker-state.ts';

/** By whom an address may be used. */
export interface Custody {
  /** What their configuration names is kept. */
  readonly generations: readonly number[];
  /** What they have is kept: they serve, or are on their way to. */
  readonly workers: readonly number[];
  /** A reload, a replacement or a port that comes a moment later is on the way: what those had who are gone, or make way, may be asked for again. */
  readonly isAwaited: boolean;
}

/** As the fleet is now. */
export function custodyOf(fleet: Fleet): Custody {
  const wanted = fleet.workers.filter(isWanted);
  const own = wanted.filter(({ generation }) => generation === fleet.generation);
  const isComplete = missingWorkers(fleet) === 0 && own.every((worker) => worker.phase === 'serving' && hasSettled(worker));
  return { generations: generationsOf(fleet), workers: wanted.map(({ id }) => id), isAwaited: isUncommitted(fleet.reload) || !isComplete };
}
