/**
 * Established connections as raw handles: taken from one socket, given to another, in this process or the next.
 *
 * Undocumented, each tried on 20.20, 22.23, 24.21, 26.10:
 * - `socket._handle`, `handle.readStop`, `handle.readStart`, `handle.reading`: a socket without handle is destroyed without closing anything, and what the
 *   client sends waits in the kernel. Missing: the connection counts as one that can't move.
 * - `handle.onconnection(0, connection)` of a listening handle: feeds a connection in as an accept would, with all of Node's
 *   bookkeeping; `cluster` delivers by it. Missing: the connection is refused, and stays where it was.
 * - `socket._server`: who has accepted it. Missing: the connection is counted nowhere, and waited for by nobody.
 * - `server._connections`, `server._emitCloseIfDrained`: a server's count of its connections, and what Node calls whenever one of them ends. Missing: a
 *   closed server tells `close` while connections of it are on their way.
 * - `socket._parent` of a `TLSSocket`: the socket below. Missing: an encrypted connection is counted twice.
 * - `handle.reading` is made an accessor by a `TLSSocket` above. Missing: connections behind TLS count as read by somebody else first, and stay.
 * - `socket[timeout]._idleStart`: when the timer of a socket was last set. Missing: it gets its whole time anew.
 */
import type { Server, Socket } from 'node:net';
import { acceptorOf } from './handle.ts';

/** An established connection as libuv has it (`TCP` or `Pipe`). Whoever holds it must close it. */
export interface ConnectionHandle {
  close(callback?: () => void): void;
  readStop?(): number;
  readStart?(): number;
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

/** Whether a socket, or another stream that carries a connection, still has it. Given to a child it is not destroyed, but has no handle any more. */
export function isOpen(socket: Socket): boolean {
  return !socket.destroyed && (socket as unknown as InternalSocket)._handle !== null;
}

/** The server that has accepted the connection. */
export function serverOf(socket: Socket): Server | undefined {
  return (socket as unknown as { readonly _server?: Server | null })._server ?? undefined;
}

/** The socket below one that decrypts. */
export function rawOf(socket: Socket): Socket | undefined {
  return (socket as unknown as { readonly _parent?: Socket | null })._parent ?? undefined;
}

/** A TLS handshake has begun on it: its handle belongs to the socket above. */
export function isBelowTls(socket: Socket): boolean {
  const { _handle: handle } = socket as unknown as InternalSocket;
  return handle !== null && Object.getOwnPropertyDescriptor(handle, 'reading')?.get !== undefined;
}

/** Open connections as Node counts them, which costs nothing. */
export function countOf(server: Server): number | undefined {
  return (server as unknown as Partial<InternalServer>)._connections;
}

/** A connection that was taken away from its socket. */
export interface Loan {
  /** Whoever lends must close it, or give it back. */
  readonly handle: ConnectionHandle;
  /** The connection goes on where it was. @returns false if its socket is closed */
  giveBack(): boolean;
  /** It is gone for good. Until then its server counts it: one that its program has closed must not tell `close` while the connection may come back. */
  end(): void;
}

/**
 * Takes the connection away from its socket, without a trace on the wire. Only with nothing buffered either way. Reads happen between ticks only, so
 * nothing is half-read. With `tellsClose` the socket closes in the next tick; otherwise the program notices nothing, until somebody destroys it.
 */
export function lend(socket: Socket, tellsClose: boolean): Loan {
  const internal = socket as unknown as InternalSocket;
  const server = internal._server;
  const timeoutMs = timeoutLeft(socket);
  const isReading = internal._handle?.reading === true;
  const uncount = keepCounted(socket);
  const handle = detach(socket);
  if (tellsClose) socket.destroy();
  else socket.setTimeout(0).on('error', ignore); // whatever is written to it now
  return {
    handle,
    end: uncount,
    giveBack() {
      if (socket.destroyed) return false;
      internal._handle = handle;
      internal._server = server ?? null;
      if (isReading) handle.readStart?.();
      handle.reading = isReading;
      if (timeoutMs !== null) socket.setTimeout(timeoutMs);
      socket.off('error', ignore);
      return true;
    },
  };
}

/** The connection of a socket that is to close as if it had never had one. */
export function takeFrom(socket: Socket): ConnectionHandle {
  const handle = detach(socket);
  socket.destroy();
  return handle;
}

/** The same, except that the socket stays open, without a connection. */
export function detach(socket: Socket): ConnectionHandle {
  const internal = socket as unknown as InternalSocket;
  const handle = internal._handle as ConnectionHandle;
  handle.readStop?.();
  handle.reading = false; // the next socket would take it for reading already
  socket.on('data', ignore).off('data', ignore); // an HTTP parser that reads from the handle directly lets go of it
  void socket.remoteAddress; // is remembered by being asked for: the program may log it later
  internal._handle = null;
  return handle;
}

/** Lets the server go on counting a connection that leaves its socket. @returns ends that */
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

let receiving = false;

/** A server is being given a connection, which the program does not have yet. */
export function isReceiving(): boolean {
  return receiving;
}

/** Gives a connection to a server, which counts it as its own. @returns undefined if the server won't have it; then it is closed */
export function receive(server: Server, handle: ConnectionHandle): Arrival | undefined {
  const acceptor = acceptorOf(server);
  let socket: Socket | undefined;
  const emit = Object.getOwnPropertyDescriptor(server, 'emit');
  const hear = (event: string, ...args: unknown[]) => {
    if (event === 'connection') socket = args[0] as Socket;
    return true; // 'drop' is not for the program: the connection lives on elsewhere
  };
  receiving = true;
  try {
    // defined, not set: the class of the program may have a setter
    Object.defineProperty(server, 'emit', { value: hear, configurable: true });
    if (acceptor?.onconnection) acceptor.onconnection(0, handle);
    else handle.close();
  } finally {
    receiving = false;
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
