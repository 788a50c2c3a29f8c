/**
 * The public API: what a program may import to take part in its own reload. A program needs none of it to be supervised.
 * Without a supervisor the same program runs as it is, and importing this makes its SIGTERM graceful.
 */
import type { Http2SecureServer, Http2Server, ServerHttp2Session } from 'node:http2';
import type { Server, Socket } from 'node:net';
import type { StateOptions } from './worker/handoff/carrier.ts';
import type { DrainInfo } from './worker/hooks.ts';
import { findRuntime, type ListenTarget } from './worker/runtime.ts';
import { runStandalone } from './worker/standalone.ts';

export type { DrainInfo } from './worker/hooks.ts';
export type { ListenTarget } from './worker/runtime.ts';

const runtime = findRuntime() ?? runStandalone();

/** Counts the reloads of this master, from 1; 0 without a supervisor. */
export const generation: number = runtime.generation;

/**
 * Which of the workers this is, from 0 to one less than there are: the same for its successor at a reload, and for whoever is started in its place. So
 * of two that overlap meanwhile, the old one may still be at work. Also in the variable GRACEFUL_SUPER_WORKER_INDEX. 0 without a supervisor.
 */
export const index: number = runtime.index;

/**
 * Says that the program can serve. With `--wait-ready` a new worker gets no connection, and an old one is not told to drain,
 * before this is called; otherwise listening is enough. Calling it again, or without a supervisor, does nothing.
 */
export function ready(): void {
  runtime.ready();
}

/**
 * Registers a proof that must be given before this worker is ready: a promise that resolves. If it rejects, the check is called
 * again, until it passes or the ready timeout ends the start; until then no client meets this worker. Register it before the
 * program listens; once the worker is ready, and without a supervisor, it does nothing.
 */
export function preflight(check: () => void | Promise<void>): void {
  runtime.preflight(check);
}

/**
 * Runs the hook when this process begins to drain: it accepts no more, what is open is being finished. The process ends
 * when the hook's promise has settled and every connection has ended, at the latest at the drain timeout. A hook added
 * while draining runs at once.
 */
export function onDrain(hook: (drain: DrainInfo) => void | Promise<void>): void {
  runtime.onDrain(hook);
}

/**
 * What to give to `server.listen` for the address that the operator has named with `--listen ADDRESS,name=NAME`;
 * undefined where there is none: `server.listen(listener('web') ?? { port: 3000 })`.
 */
export function listener(name: string): ListenTarget | undefined {
  return runtime.listener(name);
}

/** What goes with a connection to the worker that adopts it. */
export interface HandoffOptions<State = unknown, Connection = Socket> {
  /**
   * Called when nothing of the connection is buffered, right before it leaves this process. What it returns arrives at
   * `adopt`: anything that can be structured-cloned, at most 65,536 bytes as V8 serializes it; more, or a throw, is logged,
   * and the connection stays here. `undefined` means "not now": it is asked again.
   */
  export?(connection: Connection): State | undefined;
  /**
   * Called after the server's `connection` listeners, before anything is read. A throw refuses the connection: it goes back. An HTTP/2 session, of which it is called
   * after the `session` listeners, ends instead.
   */
  adopt?(connection: Connection, state: State): void;
}

/**
 * Lets the established connections of a server live on in the next worker at a reload. Plaintext HTTP does so by itself,
 * between two requests, or when a session has no stream open; raw TCP and Unix sockets from this call on, whenever nothing is buffered either way. `false` excludes a server.
 * Does nothing without a supervisor.
 */
export function handoff<State>(server: Http2Server | Http2SecureServer, options?: HandoffOptions<State, ServerHttp2Session> | false): void;
export function handoff<State>(server: Server, options?: HandoffOptions<State> | false): void;
export function handoff(server: Server, options: object | false = {}): void {
  runtime.options.set(server, options as StateOptions | false);
}

/** True for a connection that another worker began: a `connection` listener that greets must not greet again. */
export function isAdopted(connection: object): boolean {
  return runtime.adopted.has(connection);
}

/** True when a connection closes here because it lives on in another worker. */
export function isHandedOff(connection: object): boolean {
  return runtime.handedOff.has(connection);
}
