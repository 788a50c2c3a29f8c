/**
 * One reload's life, from the request until the old generation has withdrawn and handed over. PURE.
 *
 *   resolving ─→ starting ─all ready→ admitting ─all serve→ proving ─time→ (commit) retiring ─old settled→ over
 *       └────────────┴──────────────────┴─────────────────────┴── failure → (roll back) over
 *
 * `judge` looks at the reload and its workers as they are and says what may happen next; it is asked after every event.
 */
import type { Failure, Policy } from './event.ts';
import type { Worker } from './worker.ts';

/** Who asked for a reload. */
export interface Request {
  readonly id: number;
  readonly by: string;
}

interface Common {
  readonly generation: number;
  readonly startedAt: number;
  readonly requests: readonly Request[];
}

export type Resolving = Common & { readonly phase: 'resolving' };
export type Starting = Common & { readonly phase: 'starting'; readonly policy: Policy };
export type Admitting = Common & { readonly phase: 'admitting'; readonly policy: Policy };
export type Proving = Common & { readonly phase: 'proving'; readonly policy: Policy; readonly deadline: number };
export type Retiring = Common & { readonly phase: 'retiring'; readonly previous: number };
export type Reload = { readonly phase: 'idle' } | Resolving | Starting | Admitting | Proving | Retiring;

/** What may happen next with a reload. */
export type Verdict =
  | { readonly next: 'wait' }
  | { readonly next: 'spawn'; readonly count: number }
  | { readonly next: 'admit' }
  | { readonly next: 'prove' }
  | { readonly next: 'commit' }
  | { readonly next: 'finish' }
  | { readonly next: 'roll-back'; readonly failure: Failure; readonly worker: number };

const wait: Verdict = { next: 'wait' };

/** Judges a reload by the workers there are. A worker that is anything but on its way to serving fails it before the commit. */
export function judge(reload: Reload, workers: readonly Worker[], now: number): Verdict {
  switch (reload.phase) {
    case 'idle':
    case 'resolving':
      return wait;
    case 'starting':
    case 'admitting':
    case 'proving': {
      const own = workers.filter((worker) => worker.generation === reload.generation);
      return failed(own) ?? whileUncommitted(reload, own, now);
    }
    case 'retiring': {
      const old = workers.filter((worker) => worker.generation < reload.generation);
      // answered when no old worker accepts, and what could move to the new ones has moved
      return old.some((worker) => worker.phase === 'draining' && (!worker.withdrew || worker.open === null)) ? wait : { next: 'finish' };
    }
  }
}

function whileUncommitted(reload: Starting | Admitting | Proving, own: readonly Worker[], now: number): Verdict {
  switch (reload.phase) {
    case 'starting': {
      const starting = own.filter((worker) => worker.phase === 'starting').length;
      const count = Math.min(reload.policy.workers - own.length, reload.policy.surge - starting);
      if (count > 0) return { next: 'spawn', count };
      return own.length >= reload.policy.workers && starting === 0 ? { next: 'admit' } : wait;
    }
    case 'admitting':
      return own.every((worker) => worker.phase === 'serving') ? { next: 'prove' } : wait;
    case 'proving':
      return now >= reload.deadline ? { next: 'commit' } : wait;
  }
}

function failed(own: readonly Worker[]): Verdict | undefined {
  for (const worker of own) {
    if (worker.phase === 'crashed' || worker.phase === 'unfit') return { next: 'roll-back', failure: worker.failure, worker: worker.id };
    if (worker.phase === 'stopped') return { next: 'roll-back', failure: worker.exit, worker: worker.id };
    if (worker.phase === 'draining') return { next: 'roll-back', failure: { reason: 'withdrew' }, worker: worker.id };
  }
  return undefined;
}
