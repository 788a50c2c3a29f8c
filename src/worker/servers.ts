/**
 * The servers of the program and their open connections. Node announces each `listen` on a diagnostics channel; from
 * then on a server's own events keep the account. Nothing is done per request.
 */
import diagnostics from 'node:diagnostics_channel';
import type { ServerHttp2Session } from 'node:http2';
import type { Server, Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { isHttp } from '../node/http.ts';

/** A server and what is open on it. */
export interface WatchedServer {
  readonly server: Server;
  /** Every accepted connection, as the kernel has it. */
  readonly sockets: Set<Socket>;
  /** Hears that one of them is closed. */
  readonly forget: (this: Socket) => void;
  /** Those of them that have completed a TLS handshake, as the program has them. */
  readonly secure: Set<TLSSocket>;
  readonly sessions: Set<ServerHttp2Session>;
}

/** All servers of this process. */
export interface Servers {
  readonly all: ReadonlyMap<Server, WatchedServer>;
  /** Open connections of all servers. */
  count(): number;
  /** The listener of the master that a server got. */
  named(server: Server, listener: number): void;
  /** undefined for a server that listens by itself. */
  listenerOf(server: Server): number | undefined;
  /** The server that listens there; undefined: none. */
  listeningOn(listener: number): Server | undefined;
  /** Local ports of connections that this process made to itself: they are nobody's, and counted nowhere. */
  readonly privatePorts: Set<number>;
  /** Counts a connection that did not come by an accept. */
  track(server: Server, socket: Socket): void;
  /** Called when a server listens; it accepts unless it was held back. */
  onListening: (server: Server) => void;
  /** Called when a connection is gone, for good or to another worker. */
  onClose: () => void;
}

/** Begins to watch; only servers that listen later are seen. */
export function watchServers(): Servers {
  const known = new WeakMap<Server, WatchedServer>();
  const all = new Map<Server, WatchedServer>();
  const listeners = new WeakMap<Server, number>();
  const servers: Servers = {
    all,
    privatePorts: new Set(),
    count: () => [...all.values()].reduce((sum, { sockets }) => sum + sockets.size, 0),
    named: (server, listener) => void listeners.set(server, listener),
    listenerOf: (server) => listeners.get(server),
    listeningOn: (listener) => [...all.keys()].find((server) => server.listening && listeners.get(server) === listener),
    track: (server, socket) => trackIn(known.get(server), servers, socket),
    onListening: () => {},
    onClose: () => {},
  };
  diagnostics.subscribe('tracing:net.server.listen:asyncStart', (message) => {
    const { server } = message as { server: Server };
    const watched = known.get(server) ?? watch(server, servers);
    if (!known.has(server)) server.on('close', () => all.delete(server)); // told after its last connection
    known.set(server, watched);
    all.set(server, watched);
  });
  diagnostics.subscribe('tracing:net.server.listen:asyncEnd', (message) => servers.onListening((message as { server: Server }).server));
  return servers;
}

/** Kind of a connection, for the account of a drain. */
export function kindOf({ server, sessions }: WatchedServer, socket: Socket): string {
  if ((socket as TLSSocket).alpnProtocol === 'h2' || (sessions.size > 0 && !isHttp(socket))) return 'http2';
  if (isRawBehindTls(server, socket)) return 'tls';
  if (!isHttpServer(server)) return (socket as TLSSocket).encrypted ? 'tls' : socket.remoteFamily === undefined ? 'unix' : 'tcp';
  if (isHttp(socket)) return 'http';
  return webSocketOf(socket) ? 'websocket' : 'upgraded';
}

/** The connections as the program has them: decrypted where TLS is spoken. */
export function connectionsOf({ sockets, secure }: WatchedServer): Socket[] {
  if (secure.size === 0) return [...sockets];
  const behind = new Set([...secure].map((socket) => `${socket.remoteAddress}:${socket.remotePort}`));
  return [...secure, ...[...sockets].filter((socket) => !behind.has(`${socket.remoteAddress}:${socket.remotePort}`))];
}

/** The process made this connection to itself. The port was its own alone, so no client's connection can have it. */
export function isPrivate({ privatePorts }: Servers, connection: Pick<Socket, 'localPort'>): boolean {
  if (privatePorts.size === 0) return false; // to read `localPort` is a system call
  return connection.localPort !== undefined && privatePorts.has(connection.localPort);
}

/** An HTTP/1.1 server, perhaps behind TLS, perhaps besides HTTP/2. */
export function isHttpServer(server: Server): server is Server & { closeIdleConnections(): void } {
  return 'closeIdleConnections' in server && typeof server.closeIdleConnections === 'function';
}

/** Connections to a TLS server on which no handshake has begun; no parser watches over them. */
export function findSilent({ server, sockets }: WatchedServer): Socket[] {
  return [...sockets].filter((socket) => isRawBehindTls(server, socket) && socket.bytesRead === 0);
}

/** The `ws` library keeps its WebSocket on the socket, under a symbol of that name. */
export function webSocketOf(socket: Socket): { close(code: number, reason: string): void } | undefined {
  const symbol = Object.getOwnPropertySymbols(socket).find(({ description }) => description === 'websocket');
  const found = symbol === undefined ? undefined : (socket as unknown as Record<symbol, unknown>)[symbol];
  return typeof found === 'object' && found !== null && 'close' in found ? (found as { close(code: number, reason: string): void }) : undefined;
}

function isRawBehindTls(server: Server, socket: Socket): boolean {
  return 'setSecureContext' in server && !(socket as TLSSocket).encrypted;
}

function watch(server: Server, servers: Servers): WatchedServer {
  const sockets = new Set<Socket>();
  // one function for all of them: a closure for each connection would be felt
  function forget(this: Socket): void {
    sockets.delete(this);
    servers.onClose();
  }
  const watched: WatchedServer = { server, sockets, forget, secure: new Set(), sessions: new Set() };
  server.on('connection', (socket: Socket) => trackIn(watched, servers, socket));
  server.on('secureConnection', (socket: TLSSocket) => {
    if (isPrivate(servers, socket)) return;
    watched.secure.add(socket);
    socket.once('close', () => watched.secure.delete(socket));
  });
  server.on('session', (session: ServerHttp2Session) => {
    if (isPrivate(servers, session.socket)) return;
    watched.sessions.add(session);
    session.once('close', () => watched.sessions.delete(session));
  });
  return watched;
}

function trackIn(watched: WatchedServer | undefined, servers: Servers, socket: Socket): void {
  if (watched === undefined || watched.sockets.has(socket) || isPrivate(servers, socket)) return;
  watched.sockets.add(socket);
  socket.on('close', watched.forget);
}
