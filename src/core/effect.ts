/** All that the shell can be asked to do. Effects are imperatives; what comes of them returns as events. */
import type { Ailment, Canary, ConnectionAccount, Exit, Failure, HealthFailure, Policy, Stays } from './event.ts';

export type Effect =
  /**
   * Read configuration and files anew for this generation, or take what generation `from` was started from; answered by
   * `release-resolved` or `release-rejected`.
   */
  | { readonly type: 'resolve'; readonly generation: number; readonly from: number | null }
  | { readonly type: 'spawn'; readonly worker: number; readonly generation: number; readonly index: number }
  /** Find out whether it is ready though it listens nowhere; answered by `worker-answered`. */
  | { readonly type: 'ask'; readonly worker: number }
  /** Let the worker accept; answered by `worker-admitted` or `worker-admit-failed`. */
  | { readonly type: 'admit'; readonly worker: number }
  | { readonly type: 'drain'; readonly worker: number; readonly times: DrainTimes }
  | { readonly type: 'signal'; readonly worker: number; readonly signal: 'SIGTERM' | 'SIGKILL' }
  /** Generations outside this list are gone: what is kept for them is of no use. */
  | { readonly type: 'forget-others'; readonly generations: readonly number[] }
  /** Stopping, and no worker accepts any more: whoever connects now is refused rather than left waiting. */
  | { readonly type: 'close-listeners' }
  /**
   * Everything is gone: end the master. `failure`: it could not start, or gave up; `forced`: it was stopped at once;
   * `completed`: how the worker ended that was not to be started again.
   */
  | { readonly type: 'exit'; readonly failure: Failure | null; readonly forced: boolean; readonly completed: Exit | null }
  | { readonly type: 'report'; readonly report: Report };

/** What a worker needs to know to drain. */
export type DrainTimes = Pick<Policy, 'idleGraceMs' | 'drainTimeoutMs' | 'killTimeoutMs' | 'lingerMs'>;

interface AboutWorker {
  readonly worker: number;
  readonly generation: number;
}

/** What is worth telling an operator; one log line each, and a line of the answer to `reload`. */
export type Report =
  | (AboutWorker & { readonly type: 'worker-spawned' })
  | (AboutWorker & { readonly type: 'worker-preflight-failed'; readonly failure: HealthFailure })
  | (AboutWorker & { readonly type: 'worker-ready'; readonly afterMs: number })
  | (AboutWorker & { readonly type: 'worker-serving' })
  /** It was taken for a program that listens nowhere. */
  | (AboutWorker & { readonly type: 'worker-listens' })
  | (AboutWorker & { readonly type: 'worker-draining'; readonly byItself: boolean })
  /** It could not hand over all that was to move. */
  | (AboutWorker & { readonly type: 'worker-kept'; readonly stayed: Stays })
  | (AboutWorker & { readonly type: 'worker-drained'; readonly afterMs: number } & ConnectionAccount)
  | (AboutWorker & { readonly type: 'worker-overran'; readonly signal: 'SIGTERM' | 'SIGKILL' })
  | (AboutWorker & { readonly type: 'worker-unfit'; readonly failure: Failure })
  | (AboutWorker & { readonly type: 'worker-check-failed'; readonly failure: HealthFailure; readonly strikes: number })
  /** It will be replaced. */
  | (AboutWorker & { readonly type: 'worker-ailing'; readonly ailment: Ailment })
  | (AboutWorker & { readonly type: 'worker-completed'; readonly exit: Exit })
  | (AboutWorker & { readonly type: 'worker-stopped'; readonly exit: Exit })
  | (AboutWorker & { readonly type: 'worker-crashed'; readonly failure: Failure })
  | { readonly type: 'restart-scheduled'; readonly generation: number; readonly missing: number; readonly delayMs: number }
  | { readonly type: 'crash-loop'; readonly generation: number; readonly crashes: number }
  | { readonly type: 'start-failed'; readonly generation: number; readonly worker: number; readonly failure: Failure; readonly afterMs: number }
  | { readonly type: 'gave-up'; readonly generation: number; readonly crashes: number; readonly afterMs: number }
  | { readonly type: 'generation-cut'; readonly generation: number; readonly maxDraining: number }
  /** The last worker of an old generation has ended. */
  | ({ readonly type: 'generation-gone'; readonly generation: number } & ConnectionAccount)
  | { readonly type: 'reload-started'; readonly generation: number; readonly requests: readonly number[]; readonly by: readonly string[] }
  /** `isHeld`: behind a canary that waits for its promotion. */
  | { readonly type: 'reload-queued'; readonly request: number; readonly by: string; readonly isHeld: boolean }
  /** The canary serves. */
  | ({ readonly type: 'reload-holding'; readonly generation: number; readonly requests: readonly number[] } & Canary)
  | { readonly type: 'reload-promoted'; readonly generation: number; readonly by: string }
  | { readonly type: 'reload-probation'; readonly generation: number; readonly probationMs: number }
  /** `hasPreviousEnded`: it had to, before this one was started. */
  | { readonly type: 'reload-committed'; readonly generation: number; readonly previous: number; readonly hasPreviousEnded?: true }
  | ({ readonly type: 'reload-finished' } & Outcome)
  | { readonly type: 'scale-started'; readonly from: number; readonly to: number; readonly by: string }
  /** `failure` null: so many serve, and those that were too many have handed over. */
  | { readonly type: 'scale-finished'; readonly workers: number; readonly requests: readonly number[]; readonly failure: Failure | null }
  /** What was asked for makes no sense at the moment. */
  | { readonly type: 'request-refused'; readonly request: number; readonly by: string; readonly reason: Refusal }
  | { readonly type: 'stopping'; readonly by: string; readonly workers: number }
  | { readonly type: 'stopping-at-once'; readonly by: string };

export type Refusal = 'stopping' | 'overtaken' | 'no-canary' | 'nothing-to-roll-back' | 'already-rolled-back' | 'too-many-wait';

/** How a reload ended. `requests` are those it answers. */
export type Outcome = CommittedOutcome | RolledBackOutcome;

interface CommittedOutcome {
  readonly outcome: 'committed';
  readonly generation: number;
  readonly previous: number;
  /** Of the generation that made way, so far. */
  readonly connections: ConnectionAccount;
  /** Connections that were still with workers of that generation. */
  readonly open: number;
  /** Those of them that were to move; not there if none was. */
  readonly stayed?: Stays;
  readonly requests: readonly number[];
  readonly durationMs: number;
}

interface RolledBackOutcome {
  readonly outcome: 'rolled-back';
  readonly generation: number;
  /** The generation that goes on serving; 0: there is none. */
  readonly previous: number;
  /** Workers of it that serve now. */
  readonly serving: number;
  /** The worker that failed, if it was one. */
  readonly worker: number | null;
  readonly failure: Failure;
  readonly requests: readonly number[];
  readonly durationMs: number;
}
