/**
 * What the command line and the master say to each other: HTTP/1.1 over a Unix socket. `GET /status` answers with a Status;
 * `POST /reload`, `/promote`, `/rollback`, `/scale` and `/stop` answer with a line of JSON (a ControlLine) for each thing that happens.
 */

/** Another number with whatever a command or a master of before would misunderstand. */
export const CONTROL_PROTOCOL = '1';

/** Header of every answer, and of a command's requests: CONTROL_PROTOCOL. */
export const PROTOCOL_HEADER = 'graceful-super-protocol';

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
  /** Workers started in place of others that crashed or were replaced, ever. */
  readonly restarts: number;
  readonly isCrashLooping: boolean;
  readonly nextRestartInMs: number | null;
  /** `deadlineInMs`: until a canary's hold or the probation is over. */
  readonly reload: { readonly phase: string; readonly generation: number | null; readonly deadlineInMs: number | null };
  /** The generation that `rollback` would bring back; 0: none. */
  readonly previous: number;
  readonly lastReload: LastReload | null;
}

export interface WorkerStatus {
  readonly id: number;
  /** From 0; kept by whoever takes its place. */
  readonly index: number;
  readonly pid: number | null;
  readonly generation: number;
  readonly phase: string;
  readonly uptimeMs: number;
  /** null: the worker did not answer in time. */
  readonly connections: number | null;
  /** Resident memory; null as above. */
  readonly rssBytes: number | null;
  /** Why it is about to be replaced, in words; null: it is not. */
  readonly ailment: string | null;
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

/** How many, by kind: `http`, `https`, `http2`, `websocket`, `wss`, `upgraded`, `tls`, `tcp`, `unix`. */
type Counts = Readonly<Record<string, number>>;

/** A line of a streamed answer. */
export type ControlLine =
  | { readonly type: 'event'; readonly event: string; readonly level: string; readonly text: string }
  /** The last line of all others. `isDone`: what was asked for is so; `error` is a code of the table in docs/cli.md, null if it is. */
  | { readonly type: 'outcome'; readonly isDone: boolean; readonly error: OutcomeError | null; readonly generation: number; readonly text: string }
  /** The last line of `POST /stop`. */
  | { readonly type: 'stopped'; readonly exitCode: number };

/** Why something that was asked for is not so. */
export type OutcomeError = 'reload-failed' | 'release-gone' | 'scale-failed' | 'refused';
