/** What is known of a worker in each phase of its life, and what several phases share. PURE. */
import type { Effect, Report } from './effect.ts';
import type { Ailment, ConnectionAccount, Exit, Failure, HealthFailure, Stays, WorkerEvent } from './event.ts';

/** What stays the same all its life. */
export interface Identity {
  readonly id: number;
  readonly generation: number;
  /** From 0; no two that have a place in one generation share it, and a replacement gets that of whom it replaces. */
  readonly index: number;
  readonly spawnedAt: number;
  /** Where it has listened from its start on; what it opens once it has settled belongs to no start. */
  readonly addresses: readonly string[];
}

export type Starting = Identity & {
  readonly phase: 'starting';
  readonly listening: boolean;
  /** When it is taken for a program that listens nowhere, if it answers then; null: it is to listen, or is asked already. */
  readonly askAt: number | null;
  /** It was asked whether it is ready: who answers is. */
  readonly isAsked?: true;
  /** What its preflight failed by last. */
  readonly preflight?: HealthFailure;
  readonly deadline: number;
};
/** `isJob`: it is ready by having lived so long without a listener; it may be busy and need not answer. */
export type Ready = Identity & { readonly phase: 'ready'; readonly isJob?: true };
export type Admitted = Identity & { readonly phase: 'admitted'; readonly isJob?: true; readonly deadline: number };
export type Serving = Identity & {
  readonly phase: 'serving';
  readonly since: number;
  /** Until then it may still listen where it has to; Infinity: that is over. */
  readonly settlesAt: number;
  readonly isJob?: true;
  /** Why it is to be replaced; once set it stays. */
  readonly ailment: Ailment | null;
  /** Failed health checks in a row. */
  readonly strikes: number;
  /** The last of them. */
  readonly checkFailure: HealthFailure | null;
  /** It has passed one. */
  readonly isHealthy?: true;
  /** 0: not measured yet. */
  readonly rssBytes: number;
};
export type Draining = Identity & {
  readonly phase: 'draining';
  readonly since: number;
  /** Nobody told it to. */
  readonly byItself: boolean;
  /** Its event loop stood still when it was told to, or has not heard of it until the deadline. */
  readonly isDeaf?: true;
  readonly withdrew: boolean;
  /** Connections left when all that could move at once had moved; null: it has not come so far. */
  readonly open: number | null;
  /** Those of them that were to move. */
  readonly stayed?: Stays;
  readonly drained: boolean;
  readonly account: ConnectionAccount;
  /** The signal that the next passed deadline sends. */
  readonly next: 'SIGTERM' | 'SIGKILL';
  readonly deadline: number;
};
export type Unfit = Identity & { readonly phase: 'unfit'; readonly failure: Failure; readonly next: 'SIGTERM' | 'SIGKILL'; readonly deadline: number };
export type Stopped = Identity & { readonly phase: 'stopped'; readonly exit: Exit; readonly account: ConnectionAccount };
export type Crashed = Identity & { readonly phase: 'crashed'; readonly failure: Failure };

export type Worker = Starting | Ready | Admitted | Serving | Draining | Unfit | Stopped | Crashed;

/** The next worker, and what is to be done. */
export type WorkerStep = readonly [Worker, ...Effect[]];
/** What happens to a worker. */
export type Happening = WorkerEvent | { readonly type: 'tick'; readonly now: number };

/** Serves, or is on its way to. */
export function isWanted(worker: Worker): worker is Starting | Ready | Admitted | Serving {
  return worker.phase === 'starting' || worker.phase === 'ready' || worker.phase === 'admitted' || worker.phase === 'serving';
}

/** The process has ended. */
export function isGone(worker: Worker): worker is Stopped | Crashed {
  return worker.phase === 'stopped' || worker.phase === 'crashed';
}

/** A worker that serves has come to listen wherever it means to. */
export function hasSettled(worker: Worker): boolean {
  return worker.phase !== 'serving' || worker.settlesAt === Number.POSITIVE_INFINITY;
}

/** What it keeps in its next phase. */
export function identity({ id, generation, index, spawnedAt, addresses }: Worker): Identity {
  return { id, generation, index, spawnedAt, addresses };
}

type WithoutWorker<R> = R extends { worker: number; generation: number } ? Omit<R, 'worker' | 'generation'> : never;

/** The effect of telling an operator. */
export function report(worker: Identity, what: WithoutWorker<Report>): Effect {
  return { type: 'report', report: { ...what, worker: worker.id, generation: worker.generation } as Report };
}
