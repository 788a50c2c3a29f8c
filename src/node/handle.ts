/**
 * Listening sockets as raw handles.
 *
 * Undocumented, each tried on 20.20, 22.23, 24.21, 26.10:
 * - `net._createServerHandle`: binds without accepting; Node's own `cluster` uses it. `net.Server.listen` would accept in
 *   the master. Missing: the master refuses to start (`canBind`).
 *   Given a descriptor, it opens that instead, whatever stream socket it is; an errno for anything else.
 * - `handle.getsockname`: libuv reports EADDRINUSE only here or at `listen`, not at `bind`.
 * - `handle.getpeername`: tells a connection from a listener. `handle.fd`: what a child is to inherit. Without it nothing is stored.
 * - `handle.open`, `handle.readStart`, `handle.readStop`: `listen` makes libuv wait for connections, to accept them. `readStop` ends whatever a stream waits
 *   for, provided that it reads, and it can read if it was opened: so a handle is opened on its own descriptor, reads, listens and stops, all in one tick.
 * - `handle.listen`, `server._handle`, `handle.onconnection`: a worker's backlog is the master's to choose, accepting can wait for the admission,
 *   and a server can stop accepting while its program goes on to believe that it listens.
 * - `server._emitCloseIfDrained`: what `close` calls, and the last connection when it ends. Missing: `close` is told at once, perhaps a moment before the
 *   address is free.
 */
import { AsyncResource } from 'node:async_hooks';
import type net from 'node:net';

/** A socket as libuv has it. */
export interface SocketHandle {
  close(callback?: () => void): void;
  readonly fd?: number;
  getsockname?(into: SocketName): number;
}

/** A listening socket (`TCP` or `Pipe`). */
export interface ListenHandle extends SocketHandle {
  listen(backlog: number): number;
  open?(fd: number): number;
  readStart?(): number;
  readStop?(): number;
  /** Not of a Unix socket. */
  getpeername?(into: SocketName): number;
  /** Called by libuv for each accepted connection; set by Node when a server listens. */
  onconnection?(errno: number, connection: object): void;
  /** Of a Unix socket; 1: all may read, 2: all may write. */
  fchmod?(mode: number): number;
}

interface SocketName {
  address?: string;
  port?: number;
  family?: string;
}

interface Internals {
  _createServerHandle?(address: string | null, port: number | null, addressType: number | null, fd: number | undefined, flags: number): ListenHandle | number;
}

interface InternalServer {
  _handle: ListenHandle | null;
  readonly _connections?: number;
  _listen2(address: string | null, port: number, addressType: number, backlog: number, fd: undefined, flags: number): void;
}

const EOPNOTSUPP = -95;
const acceptors = new WeakMap<net.Server, ListenHandle>();
const given = new WeakMap<net.Server, ListenHandle>();

/** False where this Node lacks what a master needs. */
export function canBind(): boolean {
  return typeof internals()._createServerHandle === 'function';
}

function internals(): Internals {
  return process.getBuiltinModule('node:net') as Internals;
}

/** Binds without listening. @returns the handle, or an errno below 0 */
export function bindHandle(address: string, port: number, addressType: number, flags: number): ListenHandle | number {
  const handle = internals()._createServerHandle?.(address, port, addressType, undefined, flags) ?? EOPNOTSUPP;
  if (typeof handle === 'number') return handle;
  const errno = handle.getsockname?.({}) ?? 0;
  if (errno === 0) return handle;
  handle.close();
  return errno;
}

/**
 * Puts a bound socket into LISTEN and accepts nothing: connections wait in the kernel's queue. Whoever has a copy accepts.
 * @returns 0, or an errno below 0; 0 also where this Node can't do it, and then the socket stays as it is until somebody listens
 */
export function listenIdle(handle: ListenHandle, backlog: number): number {
  if (!handle.open || !handle.readStart || !handle.readStop || handle.fd === undefined) return 0;
  if (handle.open(handle.fd) !== 0 || handle.readStart() !== 0) return 0;
  const errno = handle.listen(backlog);
  handle.readStop();
  return errno;
}

/** Takes an inherited descriptor over. @returns the handle; an errno below 0 where it is neither a TCP nor a Unix stream socket */
export function openHandle(fd: number): ListenHandle | number {
  return internals()._createServerHandle?.(null, null, null, fd, 0) ?? EOPNOTSUPP;
}

/** The port that a handle is bound to; 0 for a Unix socket. */
export function portOf(handle: SocketHandle): number {
  return nameOf(handle).port ?? 0;
}

/** What a handle is bound to; empty for a Unix socket. */
export function nameOf(handle: SocketHandle): SocketName {
  const name: SocketName = {};
  handle.getsockname?.(name);
  return name;
}

/** True for a connection, which is no listener; of Unix sockets it can't be told. */
export function hasPeer(handle: Pick<ListenHandle, 'getpeername'>): boolean {
  return handle.getpeername?.({}) === 0;
}

/**
 * Makes the handle listen with this backlog whatever the program asks for. With `isAdmitted: false` its `listen` only
 * seems to succeed: nothing is accepted until the returned function is called. @returns listens for real; an errno below 0 says that it could not
 */
export function holdBack(handle: ListenHandle, backlog: number, isAdmitted: boolean): () => number {
  const listen = handle.listen;
  handle.listen = () => (isAdmitted ? listen.call(handle, backlog) : 0);
  return () => (isAdmitted ? 0 : listen.call(handle, backlog));
}

/** Calls back once when the handle is closed, whoever does it: a program can remove event listeners, and this not. */
export function whenClosed(handle: SocketHandle, onClosed: () => void): void {
  const close = handle.close;
  handle.close = (callback) => {
    handle.close = close;
    close.call(handle, callback);
    onClosed();
  };
}

/** The same for what a server listens with now. */
export function whenServerCloses(server: net.Server, onClosed: () => void): void {
  const handle = (server as unknown as InternalServer)._handle ?? given.get(server);
  if (handle) whenClosed(handle, onClosed);
}

/** A server that is being closed says so only when the returned function is called. @see `_emitCloseIfDrained` above */
export function delayClose(server: net.Server): () => void {
  const internal = server as unknown as InternalServer;
  let isDue = false;
  const value = () => {
    isDue ||= !internal._handle && !internal._connections;
  };
  Object.defineProperty(server, '_emitCloseIfDrained', { value, configurable: true, writable: true, enumerable: false });
  return AsyncResource.bind(() => {
    Reflect.deleteProperty(server, '_emitCloseIfDrained');
    if (isDue) process.nextTick(() => server.emit('close')); // what a listener throws is the program's own
  });
}

/** Lets a server believe that it listens there. */
export function promise(address: string, port: number, addressType: number): ListenHandle {
  const getsockname = (into: SocketName) => Number(Object.assign(into, { address, port, family: `IPv${addressType}` }) && 0);
  const handle = { ...standIn({ listen: () => 0, close() {}, getsockname }), fd: 0 };
  whenClosed(handle, () => {
    handle.fd = -1; // as of any handle that was closed
  });
  return handle;
}

/** Gives a server that believes it the real handle. */
export function keepPromise(server: net.Server, handle: ListenHandle, backlog: number): number {
  const internal = server as unknown as InternalServer;
  const { onconnection } = internal._handle ?? {};
  for (const symbol of Object.getOwnPropertySymbols(internal._handle ?? {})) Object.assign(handle, { [symbol]: Reflect.get(internal._handle ?? {}, symbol) });
  Object.assign(handle, { onconnection });
  internal._handle = handle;
  keepGiven(server, handle);
  return handle.listen(backlog);
}

/** Makes a `listen` that could not be fulfilled fail with the very error that Node itself would give. */
export function failListen(server: net.Server, errno: number, where: { address: string | null; port: number; addressType: number }): void {
  const internal = server as unknown as InternalServer;
  internal._handle = { listen: () => errno, close: () => {} };
  internal._listen2(where.address, where.port, where.addressType, 0, undefined, 0);
}

/** Remembers what a server listens with: somebody may take it from there and go on. */
export function keepGiven(server: net.Server, handle: ListenHandle): void {
  given.set(server, handle);
}

/** The server listens, or whoever has taken its handle: `cluster` does, of a server that it made. */
export function listens(server: net.Server): boolean {
  const handle = given.get(server);
  return server.listening || (handle !== undefined && isOpen(handle));
}

/** It was not closed, whoever has it by now. */
export function isOpen(handle: SocketHandle): boolean {
  return (handle.fd ?? 0) >= 0;
}

/**
 * Stops accepting and leaves everything else of the server as it is: `listening`, `address()` and a later `close()` of the
 * program's behave as before. (`http.Server.close` would reset idle connections; `net.Server.close` would make a later
 * `close` by the program an error.)
 */
export function stopAccepting(server: net.Server): void {
  const internal = server as unknown as InternalServer;
  const handle = internal._handle;
  if (!handle) return given.get(server)?.close(); // `cluster` takes the handle of a server that it made
  const acceptor = standIn(handle);
  acceptors.set(server, acceptor);
  internal._handle = acceptor;
  handle.close();
}

/** What a server accepts by; one that has stopped accepting can still be given connections of its own. */
export function acceptorOf(server: net.Server): ListenHandle | undefined {
  return acceptors.get(server) ?? (server as unknown as InternalServer)._handle ?? undefined;
}

/** Takes connections for a server without being a listener: it keeps what Node has put on the real handle. */
function standIn(handle: ListenHandle): ListenHandle {
  const name: SocketName = {};
  const errno = handle.getsockname?.(name) ?? 0;
  const nothing = {
    ...handle, // `onconnection` and, under a symbol, the server
    listen: () => 0,
    close: (callback?: () => void) => void (callback && process.nextTick(callback)),
    ref() {},
    unref() {},
  };
  if (!handle.getsockname) return nothing;
  const getsockname = (into: SocketName) => {
    Object.assign(into, name);
    return errno;
  };
  return { ...nothing, getsockname };
}
