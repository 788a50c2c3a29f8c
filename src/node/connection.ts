/**
 * Established connections as raw handles: taken from one socket, given to another, in this process or the next.
 *
 * Undocumented, each tried on 20.20, 22.23, 24.21, 26.10:
 * - `socket._handle`, `handle.readStop`, `handle.reading`: a socket without handle is destroyed without closing anything, and what the client
 *   sends waits in the kernel. Missing: the connection counts as one that can't move.
 * - `handle.onconnection(0, connection)` of a listening handle: feeds a connection in as an accept would, with all of Node's
 *   bookkeeping; `cluster` delivers by it. Missing: the connection is refused, and stays where it was.
 * - `socket._server`, `server._connections`, `server._emitCloseIfDrained`: a server's count of its connections. Missing: a
 *   closed server tells `close` while connections of it are on their way.
 * - `socket[timeout]._idleStart`: when the timer of a socket was last set. Missing: it gets its whole time anew.
 */
import type { Server, Socket } from 'node:net';
import { acceptorOf } from './handle.ts';

/** An established connection as libuv has it (`TCP` or `Pipe`). Whoever holds it must close it. */
export interface ConnectionHandle {
  close(callback?: () => void): void;
  readStop?(): number;
  reading?: boolean;
}

interface InternalSocket {
  _handle: ConnectionHandle | null;
  _server?: InternalServer | null;
}

interface InternalServer {
  _connections: number;
  _emitCloseIfDrained?(): void;
}

interface InternalTimer {
  readonly _idleStart: number;
}

/** The connection can be taken from its socket. */
export function hasHandle(socket: Socket): boolean {
  return typeof (socket as unknown as InternalSocket)._handle?.readStop === 'function';
}

/**
 * Takes the connection away from its socket, which closes without a trace on the wire. Only with nothing buffered either
 * way. Reads happen between ticks only, so nothing is half-read.
 */
export function detach(socket: Socket): ConnectionHandle {
  const internal = socket as unknown as InternalSocket;
  const handle = internal._handle as Required<ConnectionHandle>;
  handle.readStop();
  handle.reading = false; // the next socket would take it for reading already
  socket.on('data', ignore); // an HTTP parser that reads from the handle directly lets go of it
  void socket.remoteAddress; // is remembered by being asked for: the program may log it later
  internal._handle = null;
  socket.destroy();
  return handle;
}

/**
 * Lets the server go on counting a connection that is about to be detached: one that was closed by its program must not tell
 * `close` while the connection may come back. @returns ends that
 */
export function keepCounted(socket: Socket): () => void {
  const internal = socket as unknown as InternalSocket;
  const server = internal._server;
  if (typeof server?._connections !== 'number') return ignore;
  internal._server = null;
  return () => {
    server._connections--;
    server._emitCloseIfDrained?.();
  };
}

/** A connection that nobody read from, in this process. */
export interface Arrival {
  readonly socket: Socket;
  /** Lets the program have it, as if it had just connected. */
  announce(): void;
}

/** Gives a connection to a server, which counts it as its own. @returns undefined if the server won't have it; then it is closed */
export function receive(server: Server, handle: ConnectionHandle): Arrival | undefined {
  const acceptor = acceptorOf(server);
  let socket: Socket | undefined;
  const emit = Object.getOwnPropertyDescriptor(server, 'emit');
  server.emit = (event: string, ...args: unknown[]) => {
    if (event === 'connection') socket = args[0] as Socket;
    return true; // 'drop' is not for the program: the connection lives on elsewhere
  };
  try {
    if (acceptor?.onconnection) acceptor.onconnection(0, handle);
    else handle.close();
  } finally {
    if (emit === undefined) Reflect.deleteProperty(server, 'emit');
    else Object.defineProperty(server, 'emit', emit);
  }
  const arrived = socket;
  return arrived && { socket: arrived, announce: () => void server.emit('connection', arrived) };
}

/** Milliseconds until the timeout of a socket would strike; null: it has none. */
export function timeoutLeft(socket: Socket): number | null {
  if (!socket.timeout) return null;
  const key = Object.getOwnPropertySymbols(socket).find(({ description }) => description === 'timeout');
  const timer = key && (socket as unknown as Record<symbol, InternalTimer | null>)[key];
  if (typeof timer?._idleStart !== 'number') return socket.timeout;
  const now = setTimeout(ignore, 1) as unknown as InternalTimer & NodeJS.Timeout;
  clearTimeout(now);
  return Math.max(1, socket.timeout - (now._idleStart - timer._idleStart));
}

function ignore(): void {}
