/**
 * All that can happen. Events are past facts; the shell reports them, the core alone decides what follows.
 * Every event carries `now`: monotonic milliseconds, the only clock the core knows.
 */

/** What made an error, as far as it can be told across processes. */
export interface ErrorReport {
  readonly name: string;
  readonly message: string;
  readonly stack?: string;
  readonly code?: string;
  readonly syscall?: string;
}

/** Why a worker is not healthy: what was asked, and what came of it. */
export interface HealthFailure {
  readonly request: string;
  readonly status?: number;
  readonly body?: string;
  readonly error?: string;
}

/** Why a worker, and with it perhaps a reload, failed. */
export type Failure =
  | { readonly reason: 'exit'; readonly code: number; readonly error?: ErrorReport }
  | { readonly reason: 'signal'; readonly signal: string; readonly error?: ErrorReport }
  | { readonly reason: 'ready-timeout'; readonly timeoutMs: number; readonly listening: boolean }
  /** Until the ready timeout it did not prove to be healthy. */
  | ({ readonly reason: 'preflight'; readonly timeoutMs: number } & HealthFailure)
  | { readonly reason: 'admit-failed'; readonly error: ErrorReport }
  | { readonly reason: 'withdrew' }
  /** Its process runs another program now, which is no worker. */
  | { readonly reason: 'supplanted' }
  /** The old code serves there, and the new code does not. */
  | { readonly reason: 'address-gone'; readonly addresses: readonly string[] }
  | Ailment
  /** An operator wants the old code back. */
  | { readonly reason: 'asked'; readonly by: string }
  | { readonly reason: 'crash-loop'; readonly crashes: number }
  /** The program has ended, and is not to be started again. */
  | { readonly reason: 'completed' }
  | { readonly reason: 'spawn-failed'; readonly error: ErrorReport }
  | { readonly reason: 'release-rejected'; readonly error: ErrorReport }
  | { readonly reason: 'stopping' };

/** Why a worker that serves is replaced. */
export type Ailment =
  /** So many health checks in a row have failed; this is what the last one was. */
  | ({ readonly reason: 'unhealthy' } & HealthFailure)
  /** Its event loop did not turn for so long. */
  | { readonly reason: 'blocked'; readonly timeoutMs: number }
  | { readonly reason: 'memory'; readonly rssBytes: number; readonly limitBytes: number }
  | { readonly reason: 'age'; readonly ageMs: number };

/** How a process ended, as waitpid(2) tells it; `error` is what the worker reported just before. */
export type Exit = Extract<Failure, { reason: 'exit' | 'signal' | 'spawn-failed' }>;

/** Connections by kind: a kind of protocol → how many. */
export type ConnectionCounts = Readonly<Record<string, number>>;

/** Connections that were to move and did not, by the reason. */
export type Stays = ConnectionCounts;

/** What became of the connections of a worker, or of a generation, that drains. */
export interface ConnectionAccount {
  /** They go on in another worker; their clients have noticed nothing. */
  readonly moved: ConnectionCounts;
  /** They ended, by themselves or gracefully. */
  readonly closed: ConnectionCounts;
  /** They were still in use at the drain timeout. */
  readonly cut: ConnectionCounts;
}

/** The numbers a generation is run by. Times are milliseconds. */
export interface Policy {
  /** New code may listen elsewhere than the old. */
  readonly allowsAddressChange: boolean;
  /** Workers wanted, ≥ 1. */
  readonly workers: number;
  /** Workers of a new generation that may be starting at once, ≥ 1. */
  readonly surge: number;
  readonly readyTimeoutMs: number;
  /** How long both generations serve before the old one is told to drain; 0: not at all. */
  readonly probationMs: number;
  /** How long a worker that serves may take to listen wherever it means to; 0: it does when it serves. */
  readonly settleMs: number;
  /** How long an idle connection that can't move stays open while its worker drains. */
  readonly idleGraceMs: number;
  readonly drainTimeoutMs: number;
  readonly killTimeoutMs: number;
  /** How long a program that handles no signal may go on when its connections are gone. */
  readonly lingerMs: number;
  /** Generations that may drain at once, ≥ 1; the oldest above it is cut. */
  readonly maxDraining: number;
  readonly backoffMinMs: number;
  readonly backoffMaxMs: number;
  /** Crashes of one worker place, with no quiet `restartWindowMs` between them, above which it is called a crash loop. */
  readonly restartLimit: number;
  readonly restartWindowMs: number;
  /** A crash loop that lasts so long ends the master; null: never. */
  readonly giveUpAfterMs: number | null;
  /** Which workers are started again when they end: all, those that failed, none. */
  readonly restart: 'always' | 'on-failure' | 'never';
  /** Something says that the program will listen, or say when it is ready: until then a worker is not. */
  readonly mustListen: boolean;
  /** New workers are started beside those whose place they take; false: these end first. */
  readonly overlaps: boolean;
  /** New workers pass a health check before they take the place of others. */
  readonly hasHealth: boolean;
  /** Failed health checks in a row that get a worker replaced, ≥ 1. */
  readonly healthFailures: number;
  /** Resident memory of a worker above which it is replaced; null: any. */
  readonly maxMemoryBytes: number | null;
  /** How long a worker serves until it is replaced, less up to a tenth; null: for ever. */
  readonly maxAgeMs: number | null;
}

/** Some workers of a new generation serve beside the old ones for a while. */
export interface Canary {
  /** How many, ≥ 1. */
  readonly workers: number;
  /** null: until it is promoted or rolled back by hand. */
  readonly holdMs: number | null;
}

interface AboutWorker {
  readonly now: number;
  readonly worker: number;
}

export type WorkerEvent =
  /** Some server of its program listens, or none does any more. */
  | (AboutWorker & { readonly type: 'worker-listening'; readonly isListening: boolean })
  /** It has asked for a listener. */
  | (AboutWorker & { readonly type: 'worker-asked' })
  /** It was asked whether it is ready though it listens nowhere: it is. */
  | (AboutWorker & { readonly type: 'worker-answered' })
  /** All the addresses that it has by now, of those that any start of the program asks for: no port that is any free one. */
  | (AboutWorker & { readonly type: 'worker-addresses'; readonly addresses: readonly string[] })
  | (AboutWorker & { readonly type: 'worker-ready' })
  /** It would be ready, but does not prove to be healthy so far. */
  | (AboutWorker & { readonly type: 'worker-preflight-failed'; readonly failure: HealthFailure })
  | (AboutWorker & { readonly type: 'worker-admitted' })
  | (AboutWorker & { readonly type: 'worker-admit-failed'; readonly error: ErrorReport })
  /** `failure` null: it is healthy. */
  | (AboutWorker & { readonly type: 'worker-checked'; readonly failure: HealthFailure | null })
  | (AboutWorker & { readonly type: 'worker-measured'; readonly rssBytes: number })
  /** It has not answered for so long. */
  | (AboutWorker & { readonly type: 'worker-blocked'; readonly timeoutMs: number })
  /** It stopped accepting: because it was told to, or by a signal of somebody else's. */
  | (AboutWorker & { readonly type: 'worker-withdrew' })
  /** Its channel closed: it drains, and can't be told anything more, nor tell. */
  | (AboutWorker & { readonly type: 'worker-disconnected' })
  /** The process has executed another program, which knows nothing of us. */
  | (AboutWorker & { readonly type: 'worker-supplanted' })
  /** What could move at once has moved; `open` connections are still in use, or stay for good. */
  | (AboutWorker & { readonly type: 'worker-settled'; readonly moved: ConnectionCounts; readonly open: number; readonly stayed?: Stays })
  /** Its connections are gone. */
  | (AboutWorker & { readonly type: 'worker-drained' } & ConnectionAccount)
  /** `chance` in [0, 1) is the jitter of the delay that may follow. */
  | (AboutWorker & { readonly type: 'worker-exited'; readonly exit: Exit; readonly chance: number; readonly moved: ConnectionCounts });

interface Asked {
  readonly now: number;
  readonly request: number;
  readonly by: string;
  /** Somebody waits for the answer: see `caller-left`. */
  readonly isAwaited?: boolean;
}

/** How the number of workers is to change; it stays within 1 and 1024. */
export type Scaling = { readonly to: number } | { readonly by: number };

/** An event as it is told; the loop adds when. */
export type Happening = FleetEvent extends infer E ? (E extends unknown ? Omit<E, 'now'> : never) : never;

export type FleetEvent =
  | WorkerEvent
  /** `request` names who asked, so that the outcome can be told to them; `by` is for the log. */
  | (Asked & { readonly type: 'reload-requested'; readonly canary?: Canary; readonly allowsAddressChange?: boolean })
  /** Ends the hold of a canary: the rest of its generation follows. */
  | (Asked & { readonly type: 'promote-requested' })
  /** Ends the reload under way, or, after a committed one, brings back the generation before. */
  | (Asked & {
      readonly type: 'rollback-requested';
      /** Also when the last reload came to nothing: back behind the code that serves. */
      readonly isForced?: boolean;
    })
  /** To so many workers, or by so many. */
  | (Asked & { readonly type: 'scale-requested'; readonly change: Scaling })
  /** Nobody waits for the answer to that request any more. */
  | { readonly type: 'caller-left'; readonly now: number; readonly request: number }
  | {
      readonly type: 'release-resolved';
      readonly now: number;
      readonly generation: number;
      readonly policy: Policy;
      /** Addresses that the configuration named for the generation that serves, and does not name any more. */
      readonly dropped: readonly string[];
    }
  | { readonly type: 'release-rejected'; readonly now: number; readonly generation: number; readonly error: ErrorReport }
  /** A second one stops at once. */
  | { readonly type: 'stop-requested'; readonly now: number; readonly by: string }
  | { readonly type: 'tick'; readonly now: number };
