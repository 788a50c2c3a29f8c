/**
 * The servers of the program and their open connections. Node announces each `listen` and each accepted connection on diagnostics channels, which no program
 * removes as it may remove listeners; what is gone by now is found by being asked. Nothing is done per request.
 */
import diagnostics from 'node:diagnostics_channel';
import type { ServerHttp2Session } from 'node:http2';
import type { Server, Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { countOf, isBelowTls, isOpen, isReceiving, rawOf, serverOf } from '../node/connection.ts';
import { listens } from '../node/handle.ts';
import { isHttp, parsedConnections } from '../node/http.ts';
import { isHttp2Server, noteSession, sessionOf } from '../node/http2.ts';
import { hasLeft } from '../node/http2-session.ts';
import { OpenSet } from './open-set.ts';
import { isPrivatePath } from './unix-path.ts';

/** A server and what is open on it. */
export interface WatchedServer {
  readonly server: Server;
  /** Every accepted connection, as the kernel has it. */
  readonly sockets: OpenSet<Socket>;
  /** Those of them that have completed a TLS handshake, as the program has them. */
  readonly secure: OpenSet<TLSSocket>;
  readonly sessions: OpenSet<ServerHttp2Session>;
}

/** All servers of this process. */
export interface Servers {
  /** Those that listen, or have connections. */
  list(): WatchedServer[];
  /** Open connections of all servers. */
  count(): number;
  /** The same as Node counts them: at no cost, but connections under way are among them. */
  roughly(): number;
  /** No connection is open. */
  areEmpty(): boolean;
  /** The listener of the master that a server got. */
  named(server: Server, listener: number): void;
  /** undefined for a server that listens by itself. */
  listenerOf(server: Server): number | undefined;
  /** One of them listens where the service may be reached. */
  readonly areServing: boolean;
  /** The server that listens there; undefined: none. */
  listeningOn(listener: number): Server | undefined;
  /** Local ports of connections that this process made to itself: they are nobody's, and counted nowhere. */
  readonly privatePorts: Set<number>;
  /** Counts a connection that did not come by an accept. */
  track(server: Server, socket: Socket): void;
  /** The server has accepted it itself; a program may also give it one that it has from elsewhere. */
  hasAccepted(server: Server, socket: Socket): boolean;
  /** Node's HTTP parser had it when it was accepted: nothing else has read its first bytes. */
  isFirstHand(socket: Socket): boolean;
  /** Called when a server listens; it accepts unless it was held back. */
  onListening: (server: Server) => void;
  /** Called when there is another connection. */
  onTracked: (server: Server, socket: Socket) => void;
  /** Called when a connection may be gone, for good or to another worker. */
  onEnd: () => void;
}

/** Begins to watch; only servers that listen later are seen. */
export function watchServers(): Servers {
  const known = new WeakMap<Server, WatchedServer>();
  const all = new OpenSet<WatchedServer>(({ server, sockets }) => listens(server) || !sockets.isEmpty());
  const listeners = new WeakMap<Server, number>();
  const [secondHand, decrypted] = [new WeakSet<Socket>(), new WeakSet<Socket>()];
  const servers: Servers = {
    list: () => all.list(),
    count: () => all.list().reduce((sum, watched) => sum + watched.sockets.size + guestsOf(watched, servers).length, 0),
    roughly: () => all.list().reduce((sum, { server, sockets }) => sum + (countOf(server) ?? sockets.size), 0),
    areEmpty: () => all.list().every((watched) => watched.sockets.isEmpty() && guestsOf(watched, servers).length === 0),
    named: (server, listener) => void listeners.set(server, listener),
    get areServing() {
      return all.list().some(({ server }) => listens(server) && !isToolsOwn(server));
    },
    listenerOf: (server) => listeners.get(server),
    listeningOn: (listener) => all.list().find(({ server }) => server.listening && listeners.get(server) === listener)?.server,
    privatePorts: new Set(),
    track(server, socket) {
      const watched = known.get(server);
      if (watched === undefined) return;
      watched.sockets.add(lowest(socket));
      if ((socket as TLSSocket).encrypted) watched.secure.add(socket as TLSSocket);
      all.add(watched); // it may have been closed meanwhile
      if (!isRawBehindTls(server, socket)) servers.onTracked(server, socket);
    },
    hasAccepted: (server, socket) => known.get(server)?.sockets.has(lowest(socket)) === true,
    isFirstHand: (socket) => !secondHand.has(lowest(socket)) && (decrypted.has(socket) || !(socket as TLSSocket).encrypted),
    onListening: () => {},
    onTracked: () => {},
    onEnd: () => {},
  };
  diagnostics.subscribe('tracing:net.server.listen:asyncEnd', (message) => {
    const { server } = message as { server: Server };
    const watched = known.get(server) ?? watch(server, servers, decrypted);
    known.set(server, watched);
    all.add(watched);
    servers.onListening(server);
  });
  diagnostics.subscribe('net.server.socket', (message) => {
    const { socket } = message as { socket: Socket };
    const server = serverOf(socket);
    if (server === undefined || isReceiving()) return;
    servers.track(server, socket);
    if (isHttpServer(server) && !isFirstHand(server, socket)) secondHand.add(socket);
  });
  return servers;
}

/** Node's TLS, or its parser, has a connection that was just accepted. */
function isFirstHand(server: Server, socket: Socket): boolean {
  return 'setSecureContext' in server ? isBelowTls(socket) : isHttp(socket);
}

/** It listens at a path that a tool made for itself. */
export function isToolsOwn(server: Server): boolean {
  const address = server.address();
  return typeof address === 'string' && isPrivatePath(address);
}

/** Kind of a connection, for the account of a drain. */
export function kindOf({ server }: WatchedServer, socket: Socket): string {
  if ((socket as TLSSocket).alpnProtocol === 'h2' || sessionOf(socket)) return 'http2';
  if (isRawBehindTls(server, socket)) return 'tls';
  if (!isHttpServer(server)) return (socket as TLSSocket).encrypted ? 'tls' : socket.remoteFamily === undefined ? 'unix' : 'tcp';
  const { encrypted } = socket as TLSSocket;
  if (isHttp(socket)) return encrypted ? 'https' : 'http';
  if (webSocketOf(socket)) return encrypted ? 'wss' : 'websocket';
  return 'upgraded';
}

/** The connections as the program has them: decrypted where TLS is spoken, and with those that it got elsewhere. */
export function connectionsOf(watched: WatchedServer, servers: Servers): Socket[] {
  const sockets = watched.sockets.list();
  const secure = secureOf(watched);
  if (secure.size === 0) return [...sockets, ...guestsOf(watched, servers)];
  const behind = new Set([...secure].map(lowest));
  return [...secure, ...guestsOf(watched, servers), ...sockets.filter((socket) => !behind.has(socket))];
}

/** Listeners of `secureConnection` may have been removed; the parser's are known nevertheless. */
function secureOf({ server, secure, sockets }: WatchedServer): Set<Socket> {
  const parsed = parsedConnections(server).filter((socket) => (socket as TLSSocket).encrypted && sockets.has(lowest(socket)));
  return new Set<Socket>([...secure.list(), ...parsed]);
}

/** Connections of an HTTP server that it has not accepted: `server.emit('connection', stream)`. */
function guestsOf({ server, sockets }: WatchedServer, servers: Servers): Socket[] {
  const isGuest = (socket: Socket) => isOpen(socket) && !sockets.has(socket) && !(socket as TLSSocket).encrypted && !isPrivate(servers, socket);
  return parsedConnections(server).filter(isGuest);
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
  return sockets.list().filter((socket) => isRawBehindTls(server, socket) && socket.bytesRead === 0);
}

/** The `ws` library keeps its WebSocket on the socket, under a symbol of that name. */
export function webSocketOf(socket: Socket): { close(code: number, reason: string): void } | undefined {
  const symbol = Object.getOwnPropertySymbols(socket).find(({ description }) => description === 'websocket');
  const found = symbol === undefined ? undefined : (socket as unknown as Record<symbol, unknown>)[symbol];
  return typeof found === 'object' && found !== null && 'close' in found ? (found as { close(code: number, reason: string): void }) : undefined;
}

/** What the kernel's connection belongs to. */
function lowest(socket: Socket): Socket {
  return rawOf(socket) ?? socket;
}

function isRawBehindTls(server: Server, socket: Socket): boolean {
  return 'setSecureContext' in server && !(socket as TLSSocket).encrypted;
}

/** `decrypted`: behind TLS, and given to Node's parser at once. */
function watch(server: Server, servers: Servers, decrypted: WeakSet<Socket>): WatchedServer {
  const watched: WatchedServer = {
    server,
    sockets: new OpenSet<Socket>(isOpen),
    secure: new OpenSet<TLSSocket>(isOpen),
    sessions: new OpenSet<ServerHttp2Session>((session) => !session.destroyed && !hasLeft(session)),
  };
  const onSecure = (socket: TLSSocket) => {
    if (isPrivate(servers, socket)) return;
    watched.secure.add(socket);
    servers.onTracked(server, socket);
    if (isHttp(socket)) decrypted.add(socket);
  };
  const onSession = (session: ServerHttp2Session) => {
    if (isPrivate(servers, session.socket)) return;
    noteSession(session);
    watched.sessions.add(session);
  };
  if ('setSecureContext' in server) server.on('secureConnection', onSecure);
  if (isHttp2Server(server)) server.on('session', onSession);
  return watched;
}
