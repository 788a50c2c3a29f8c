/**
 * What the command line and the master say to each other: HTTP/1.1 over a Unix socket. `GET /status` answers with a Status;
 * `POST /reload` and `POST /stop` answer with a line of JSON (a ControlLine) for each thing that happens.
 */

/** The master as it is now. Times are milliseconds. */
export interface Status {
  readonly name: string;
  readonly pid: number;
  readonly version: string;
  readonly node: string;
  readonly phase: 'running' | 'stopping' | 'ended';
  readonly uptimeMs: number;
  readonly script: string;
  /** The committed generation; 0: none yet. */
  readonly generation: number;
  readonly workersWanted: number;
  readonly listeners: readonly { readonly name: string | null; readonly address: string; readonly backlog: number }[];
  readonly workers: readonly WorkerStatus[];
  /** Workers started in place of crashed ones, ever. */
  readonly restarts: number;
  readonly isCrashLooping: boolean;
  readonly nextRestartInMs: number | null;
  readonly reload: { readonly phase: string; readonly generation: number | null };
  readonly lastReload: LastReload | null;
}

export interface WorkerStatus {
  readonly id: number;
  readonly pid: number | null;
  readonly generation: number;
  readonly phase: string;
  readonly uptimeMs: number;
  /** null: the worker did not answer in time. */
  readonly connections: number | null;
  /** So many went on to other workers while this one drains. */
  readonly moved: number;
  /** Until something happens to it if nothing else does: it is taken for not ready, or is ended. */
  readonly deadlineInMs: number | null;
}

export interface LastReload {
  readonly outcome: 'committed' | 'rolled-back';
  readonly generation: number;
  readonly durationMs: number;
  readonly agoMs: number;
  /** What happened, in words. */
  readonly text: string;
  /** What has become, by now, of the connections of the generation that made way, by kind; null: none did. */
  readonly connections: { readonly moved: Counts; readonly closed: Counts; readonly cut: Counts } | null;
}

/** How many, by kind: `http`, `http2`, `websocket`, `upgraded`, `tls`, `tcp`, `unix`. */
type Counts = Readonly<Record<string, number>>;

/** A line of a streamed answer. */
export type ControlLine =
  | { readonly type: 'event'; readonly event: string; readonly level: string; readonly text: string }
  /** The last line of `POST /reload`. */
  | { readonly type: 'outcome'; readonly isCommitted: boolean; readonly generation: number; readonly text: string }
  /** The last line of `POST /stop`. */
  | { readonly type: 'stopped'; readonly exitCode: number };
