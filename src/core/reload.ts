/**
 * One reload's life, from the request until the old generation has withdrawn and handed over. PURE.
 *
 *   resolving ─→ starting ─all ready→ admitting ─all serve→ proving ─time→ (commit) retiring ─old settled→ over
 *       │           │ ↑                 │ └canary serves→ holding   │
 *       │           │ └───── promoted ──┼───────────────────┤       │
 *       └───────────┴───────────────────┴───────────────────┴───────┴── failure, or asked to → (roll back) over
 *
 * `judge` looks at the reload and its workers as they are and says what may happen next; it is asked after every event.
 */
import type { Canary, Failure, Policy } from './event.ts';
import type { Worker } from './worker.ts';

/** Who asked for a reload. */
export interface Request {
  readonly id: number;
  readonly by: string;
  readonly canary?: Canary;
  /** Somebody waits for its answer. */
  readonly isAwaited?: boolean;
  /** The generation that is to come back. */
  readonly from?: number;
}

interface Common {
  readonly generation: number;
  readonly startedAt: number;
  readonly requests: readonly Request[];
  /** Workers that serve beside the old ones before the rest is started; null: none do, or they have been promoted. */
  readonly canary: Canary | null;
}

interface Resolved extends Common {
  readonly policy: Policy;
  /** Workers, before anybody scaled. */
  readonly configured: number;
}

export type Resolving = Common & { readonly phase: 'resolving' };
export type Starting = Resolved & { readonly phase: 'starting' };
export type Admitting = Resolved & { readonly phase: 'admitting' };
export type Holding = Resolved & { readonly phase: 'holding'; readonly deadline: number; readonly isOver?: true };
export type Proving = Resolved & { readonly phase: 'proving'; readonly deadline: number; readonly isOver?: true };
export type Retiring = Common & { readonly phase: 'retiring'; readonly previous: number };
export type Reload = { readonly phase: 'idle' } | Resolving | Starting | Admitting | Holding | Proving | Retiring;
/** The old generation goes on as long as one of these does. */
export type Uncommitted = Resolving | Starting | Admitting | Holding | Proving;

/** What may happen next with a reload. */
export type Verdict =
  | { readonly next: 'wait' }
  | { readonly next: 'spawn'; readonly count: number }
  | { readonly next: 'admit' }
  | { readonly next: 'hold'; readonly holdMs: number | null }
  | { readonly next: 'promote' }
  /** The time is over, but a check is not. */
  | { readonly next: 'overstay' }
  /** More are wanted than there are. */
  | { readonly next: 'more' }
  | { readonly next: 'prove' }
  | { readonly next: 'commit' }
  | { readonly next: 'finish' }
  | { readonly next: 'roll-back'; readonly failure: Failure; readonly worker: number };

const wait: Verdict = { next: 'wait' };

/**
 * Judges a reload by the workers there are. A worker that is anything but on its way to serving fails it before the commit.
 * `first`: nobody serves beside it, and so many of its workers have ended as they were meant to.
 */
export function judge(reload: Reload, workers: readonly Worker[], now: number, first?: { readonly completed: number }): Verdict {
  switch (reload.phase) {
    case 'idle':
    case 'resolving':
      return wait;
    case 'starting':
    case 'admitting':
    case 'holding':
    case 'proving': {
      const own = workers.filter((worker) => worker.generation === reload.generation);
      // where not every end is answered by a start, one that drains by itself may be about to complete
      const mayComplete = first !== undefined && reload.policy.restart !== 'always';
      return failed(own, mayComplete) ?? whileUncommitted(reload, own, now, first?.completed ?? 0);
    }
    case 'retiring': {
      const old = workers.filter((worker) => worker.generation < reload.generation);
      // answered when no old worker accepts, and what could move to the new ones has moved
      return old.some((worker) => worker.phase === 'draining' && (!worker.withdrew || worker.open === null)) ? wait : { next: 'finish' };
    }
  }
}

function whileUncommitted(reload: Starting | Admitting | Holding | Proving, own: readonly Worker[], now: number, completed: number): Verdict {
  const wanted = Math.min(reload.policy.workers, reload.canary?.workers ?? reload.policy.workers) - completed;
  if (wanted <= 0) return wait; // nobody is left to start
  switch (reload.phase) {
    case 'starting': {
      const starting = own.filter((worker) => worker.phase === 'starting').length;
      const count = Math.min(wanted - own.length, reload.policy.surge - starting);
      if (count > 0) return { next: 'spawn', count };
      return own.length >= wanted && starting === 0 ? { next: 'admit' } : wait;
    }
    case 'admitting': {
      if (!own.every((worker) => worker.phase === 'serving')) return wait;
      if (own.length < wanted) return { next: 'more' };
      return reload.canary === null ? { next: 'prove' } : { next: 'hold', holdMs: reload.canary.holdMs };
    }
    case 'holding':
      return whenProved(reload, own, now, { next: 'promote' });
    case 'proving':
      return own.length < wanted ? { next: 'more' } : whenProved(reload, own, now, { next: 'commit' });
  }
}

/** When the time is over and, where there are health pages, each new worker has passed a check: one that takes longer is waited for. */
function whenProved(reload: Holding | Proving, own: readonly Worker[], now: number, verdict: Verdict): Verdict {
  if (reload.isOver !== true && now < reload.deadline) return wait;
  const isProved = !reload.policy.hasHealth || own.every((worker) => worker.phase === 'serving' && worker.isHealthy === true);
  if (isProved) return verdict;
  return reload.isOver === true ? wait : { next: 'overstay' };
}

function failed(own: readonly Worker[], mayComplete: boolean): Verdict | undefined {
  for (const worker of own) {
    if (worker.phase === 'crashed' || worker.phase === 'unfit') return { next: 'roll-back', failure: worker.failure, worker: worker.id };
    if (worker.phase === 'stopped') return { next: 'roll-back', failure: worker.exit, worker: worker.id };
    if (worker.phase === 'draining' && !(mayComplete && worker.byItself)) return { next: 'roll-back', failure: { reason: 'withdrew' }, worker: worker.id };
    // new code has to be faultless: one failed check is enough
    if (worker.phase === 'serving' && worker.ailment) return { next: 'roll-back', failure: worker.ailment, worker: worker.id };
    if (worker.phase === 'serving' && worker.checkFailure)
      return { next: 'roll-back', failure: { reason: 'unhealthy', ...worker.checkFailure }, worker: worker.id };
  }
  return undefined;
}
