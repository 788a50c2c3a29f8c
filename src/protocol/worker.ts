/**
 * What master and worker say to each other over Node's IPC. Types and a few constants: the worker loads nothing for it.
 * What a worker says is parsed by `from-worker.ts` before the master believes it.
 */

/** The address a program listens on, or binds a datagram socket to, as Node has understood it. */
export interface ListenQuery {
  /** UDP; otherwise a stream. */
  readonly isDatagram: boolean;
  /** IP address or absolute path; null: every address. */
  readonly address: string | null;
  /** -1 for a Unix socket. */
  readonly port: number;
  /** 4, 6, or -1 for a Unix socket. */
  readonly addressType: number;
  /** UV_TCP_*, UV_UDP_*: 1 is IPv6 only, 4 of a datagram socket SO_REUSEADDR. */
  readonly flags: number;
  /** 0: none was named. */
  readonly backlog: number;
  /**
   * Counts a worker's listens on port 0 of the same address: each gets its own port, and in the successor the same again. So it is with datagram sockets that
   * share an address by SO_REUSEADDR.
   */
  readonly index: number;
  readonly readableAll: boolean;
  readonly writableAll: boolean;
  /** Of the program, where it makes a socket file; null: it makes none. */
  readonly umask: number | null;
  /** A promise is no answer any more: the worker is to be ready. */
  readonly isFinal: boolean;
  /** TLS ticket keys as `tls.Server` exports them, so that sessions resume in every worker. */
  readonly serverData: unknown;
}

/** What a datagram socket gets. */
export interface GroupMembership {
  /** null: whoever sends to the group. */
  readonly source: string | null;
  readonly group: string;
  /** Address of an interface; null: one that the system picks. */
  readonly via: string | null;
}

/** Connections by kind: `http`, `https`, `http2`, `websocket`, `wss`, `upgraded`, `tls`, `tcp`, `unix`. */
export type ConnectionCounts = Readonly<Record<string, number>>;

/** What made an error, in a form that crosses processes. */
export interface ErrorReport {
  readonly name: string;
  readonly message: string;
  readonly stack?: string;
  readonly code?: string;
  readonly syscall?: string;
}

/** A page of the program that must answer with an expected status. */
export interface HealthRequest {
  /** Of the server that is asked; null: any HTTP server of the worker. */
  readonly port: number | null;
  readonly path: string;
}

/** What a worker is asked, and what answers are expected. */
export interface HealthTerms {
  readonly requests: readonly HealthRequest[];
  /** Ranges, both ends included. */
  readonly statuses: readonly (readonly [from: number, to: number])[];
  /** For each attempt. */
  readonly timeoutMs: number;
}

/** Why a worker is not healthy. */
export interface HealthFailure {
  /** The request as it was configured, or `preflight(NAME)` for a function of the program. */
  readonly request: string;
  readonly status?: number;
  /** The first bytes of the answer, printable. */
  readonly body?: string;
  readonly error?: string;
}

/** A file the master made; see owned-file.ts. */
interface MadeFile {
  readonly path: string;
  readonly dev: number;
  readonly ino: number;
  readonly birthtimeMs: number;
}

export type FromWorker =
  | ({ readonly type: 'listen'; readonly id: number } & ListenQuery)
  /** `id`: of the `listen` whose socket the program has closed; answered by `let-go`. */
  | { readonly type: 'closed'; readonly id: number }
  /** `id`: of the bind whose socket has joined a multicast group, or is to leave it unless others want it. */
  | ({ readonly type: 'membership'; readonly id: number; readonly isMember: boolean } & GroupMembership)
  /** Some server of the program listens, or none does any more. */
  | { readonly type: 'listening'; readonly isListening: boolean }
  /** `isQuiet`: it was asked, and listens nowhere. */
  | { readonly type: 'ready'; readonly isQuiet?: boolean }
  /** It would be ready, but is not healthy yet; told when the failure is another than the last. */
  | { readonly type: 'preflight-failed'; readonly failure: HealthFailure }
  | { readonly type: 'admitted' }
  | { readonly type: 'admit-failed'; readonly error: ErrorReport }
  /** It has stopped accepting. */
  | { readonly type: 'withdrew' }
  /** Hands a connection over, whose handle comes along. `id` is the worker's own; `baggage` crosses unread. */
  | { readonly type: 'offer'; readonly id: number; readonly listener: number; readonly kind: string; readonly baggage: string }
  /** The connection that came with `adopt` is this worker's now; `connections` counts what it has. */
  | { readonly type: 'adopted'; readonly ticket: number; readonly connections: number }
  /** It is not, and nothing was read from it. `isFinal`: nor would it be a moment later. */
  | { readonly type: 'refused'; readonly ticket: number; readonly reason: string; readonly isFinal: boolean }
  /** Tickets of connections that did not arrive, though later ones did: they are not this worker's. */
  | { readonly type: 'given-back'; readonly tickets: readonly number[] }
  /** Everything that could be handed over at once was; `open` connections are left, of which `stayed` were to move: how many, by reason. */
  | { readonly type: 'settled'; readonly open: number; readonly stayed?: ConnectionCounts }
  /** All its connections are gone: `closed` gracefully, `cut` at the timeout; not counted are those that others adopted. */
  | { readonly type: 'drained'; readonly closed: ConnectionCounts; readonly cut: ConnectionCounts }
  /** An error is about to kill it. */
  | { readonly type: 'failed'; readonly error: ErrorReport }
  /** Answers `examine`; `rssBytes` is its resident memory, null where that can't be found out. */
  | { readonly type: 'vitals'; readonly id: number; readonly connections: number; readonly rssBytes: number | null }
  | { readonly type: 'checked'; readonly id: number; readonly failure: HealthFailure | null }
  /** What is sealed to this key only this worker can read: base64 of an X25519 key. Told by those that take connections behind TLS. */
  | { readonly type: 'key'; readonly key: string }
  /** Something an operator should know. */
  | { readonly type: 'notice'; readonly text: string; readonly level?: 'info' | 'warn' };

export type ToWorker =
  /** Answers `listen`; the handle comes along unless `errno` is below 0. `isAdmitted`: nobody serves there yet, so accept at once. */
  | {
      readonly type: 'listener';
      readonly id: number;
      /** 0, or below it what Node is to fail with. */
      readonly errno: number;
      /** The master's number for it; what connections are handed over by. 0: there is none. */
      readonly listener: number;
      readonly address: string | null;
      readonly addressType: number;
      readonly backlog: number;
      readonly isAdmitted: boolean;
      /**
       * It can't be had now, but would be free without other workers: a program that only looks whether it is finds that it is. It is asked for again, with
       * `isFinal`, when the worker is about to be ready.
       */
      readonly isPromised: boolean;
      readonly serverData: unknown;
    }
  /** Answers `closed`: the address is free, if it was this worker's alone. */
  | { readonly type: 'let-go'; readonly id: number }
  | { readonly type: 'admit' }
  | { readonly type: 'drain'; readonly times: DrainTimes; readonly reason: DrainReason; readonly successors: Successors }
  /** They have changed since. */
  | ({ readonly type: 'successors' } & Successors)
  /** A connection to adopt, whose handle comes along; whoever can take its ticket owns it. */
  | { readonly type: 'adopt'; readonly ticket: number; readonly listener: number; readonly baggage: string }
  /** Answers `offer`: somebody adopted it. */
  | { readonly type: 'moved'; readonly id: number }
  /** Answers `offer`: nobody did, it is still the worker's own. `isFinal`: it was refused, so it need not be offered again. */
  | { readonly type: 'stay'; readonly id: number; readonly reason: string; readonly isFinal: boolean }
  /** Close what is still open, and end. */
  | { readonly type: 'hurry' }
  /** How is it? Whoever answers is alive. */
  | { readonly type: 'examine'; readonly id: number }
  /** Its program has said so to its parent, as programs for PM2 do. */
  | { readonly type: 'said-ready' }
  /** It has neither listened nor asked to for some time: is it ready? Answered by `ready`, when its preflight has passed. */
  | { readonly type: 'is-quiet' }
  /** Asks whether it is healthy; answered by `checked`. */
  | ({ readonly type: 'check'; readonly id: number } & HealthTerms)
  /** Files to remove should the master vanish. */
  | { readonly type: 'files'; readonly files: readonly MadeFile[] };

/** Who can go on with the connections of a worker that drains. */
export interface Successors {
  /** Listeners on which other workers can adopt connections. */
  readonly listeners: readonly number[];
  /** Nobody is there just now, but somebody is to be: until then connections stay as they are. */
  readonly areAwaited: boolean;
  /** Of those of them that have told one; absent: none has. */
  readonly keys?: readonly string[];
}

/** `reload`: another worker takes its place; `stop`: nobody does. */
export type DrainReason = 'reload' | 'stop';

/** Milliseconds. */
export interface DrainTimes {
  readonly idleGraceMs: number;
  readonly drainTimeoutMs: number;
  readonly killTimeoutMs: number;
  /** How long a program that handles no signal may go on when its connections are gone. */
  readonly lingerMs: number;
}

/** What holds where nobody says otherwise. */
export const defaultTimes: DrainTimes = { idleGraceMs: 5_000, drainTimeoutMs: 30_000, killTimeoutMs: 30_000, lingerMs: 5_000 };

/** Longest body of a failed answer, in bytes. */
export const BODY_LIMIT = 200;

/** Longest public key of a worker, in characters. */
export const KEY_LIMIT = 64;

/** Longest baggage of a connection, in characters. A byte of state as V8 serializes it can take six of them, such as in `\u0000`. */
export const BAGGAGE_LIMIT: number = 512 * 1024;

/**
 * Environment variable that makes a process a worker: the descriptor from which it reads who it is. It waits for that before anything else; should
 * nothing come, there is nothing for it to do. Removed before the program sees it.
 */
export const WORKER_VARIABLE = 'GRACEFUL_SUPER_WORKER';

/** Environment variable that the program finds its index in. */
export const INDEX_VARIABLE = 'GRACEFUL_SUPER_WORKER_INDEX';

/**
 * Of identity and messages; another number with whatever a runtime or a master of before would misunderstand. Both are mostly of one package, since the master keeps
 * the runtime; a package that is replaced in the moment of a start can bring two together.
 */
export const WORKER_PROTOCOL = 2;

/** What stands there: JSON and a line break. */
export interface WorkerIdentity {
  /** WORKER_PROTOCOL of the master. */
  readonly protocol: number;
  /** The master's pid: when it is no longer this process's parent, the master is gone. */
  readonly master: number;
  readonly worker: number;
  readonly generation: number;
  /** 0 … N-1: the same for whoever takes its place. */
  readonly index: number;
  readonly waitReady: boolean;
  /** What must pass before it is ready. */
  readonly preflight: HealthTerms;
  /** Descriptor of its tickets. */
  readonly tickets: number;
  /** Descriptor over which a thread of it is asked where it hangs; null: it has none. */
  readonly watcher: number | null;
  readonly times: DrainTimes;
  /** Connections behind TLS are handed over, too. */
  readonly handoffTls: boolean;
  /** Named listeners of the master: what to give to `server.listen`, or to `socket.bind`. */
  readonly listeners: Readonly<Record<string, { readonly host?: string; readonly address?: string; readonly port: number } | { readonly path: string }>>;
}

/** A request as it is configured: `/healthz`, `:8080/healthz`. */
export function nameRequest({ port, path }: HealthRequest): string {
  return port === null ? path : `:${port}${path}`;
}
