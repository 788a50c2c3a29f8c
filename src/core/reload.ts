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
import { hasSettled, type Worker } from './worker-state.ts';

/** Who asked for a reload. */
export interface Request {
  readonly id: number;
  readonly by: string;
  readonly canary?: Canary;
  /** Somebody waits for its answer. */
  readonly isAwaited?: boolean;
  /** The new code may listen elsewhere than the old. */
  readonly allowsAddressChange?: boolean;
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
  /** Addresses that the configuration does not name any more. */
  readonly dropped: readonly string[];
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
  | { readonly next: 'roll-back'; readonly failure: Failure; readonly worker: number | null };

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
      return failed(own, mayComplete) ?? whileUncommitted(reload, { own, gone: goneAddresses(reload, workers) }, now, first?.completed ?? 0);
    }
    case 'retiring': {
      const old = workers.filter((worker) => worker.generation < reload.generation);
      // answered when no old worker accepts, and what could move to the new ones has moved
      return old.some((worker) => worker.phase === 'draining' && (!worker.withdrew || worker.open === null)) ? wait : { next: 'finish' };
    }
  }
}

interface Facts {
  readonly own: readonly Worker[];
  /** Addresses that the reload would leave without anybody. */
  readonly gone: readonly string[];
}

function whileUncommitted(reload: Starting | Admitting | Holding | Proving, { own, gone }: Facts, now: number, completed: number): Verdict {
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
      return own.length < wanted ? { next: 'more' } : whenProved(reload, own, now, whenListening(own, gone));
  }
}

/** When the time is over and, where there are health pages, each new worker has passed a check: what takes longer is waited for. */
function whenProved(reload: Holding | Proving, own: readonly Worker[], now: number, verdict: Verdict): Verdict {
  if (verdict.next === 'roll-back') return verdict;
  if (reload.isOver !== true && now < reload.deadline) return wait;
  const isProved = verdict.next !== 'wait' && (!reload.policy.hasHealth || own.every((worker) => worker.phase === 'serving' && worker.isHealthy === true));
  if (isProved) return verdict;
  return reload.isOver === true ? wait : { next: 'overstay' };
}

/** A port of the program may be there a moment later than the one that made it ready: so long it is waited for. */
function whenListening(own: readonly Worker[], gone: readonly string[]): Verdict {
  if (gone.length === 0) return { next: 'commit' };
  return own.every(hasSettled) ? { next: 'roll-back', failure: { reason: 'address-gone', addresses: gone }, worker: null } : wait;
}

/** Where old workers serve and no new one does; nothing where that was asked for, by name, by the configuration, or by going back to what was before. */
export function goneAddresses(reload: Starting | Admitting | Holding | Proving, workers: readonly Worker[]): string[] {
  const { generation, policy, requests, dropped } = reload;
  if (policy.allowsAddressChange || requests.some(({ from, allowsAddressChange }) => from !== undefined || allowsAddressChange)) return [];
  const addressesOf = (isMeant: (worker: Worker) => boolean) => new Set(workers.filter(isMeant).flatMap(({ addresses }) => addresses));
  const served = addressesOf((worker) => worker.phase === 'serving' && worker.generation < generation);
  const kept = addressesOf((worker) => worker.generation === generation);
  return [...served].filter((address) => !kept.has(address) && !dropped.includes(address)).sort();
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
