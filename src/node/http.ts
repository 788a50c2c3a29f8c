/**
 * What Node's HTTP/1.1 server knows of its connections but does not tell.
 *
 * Undocumented, each tried on 20.20, 22.23, 24.21, 26.10:
 * - `socket.parser`, `parser.socket`: an HTTP connection has one until it is upgraded. Missing: the connection counts as upgraded, and is
 *   left alone until the drain timeout. `socket.server`: whose parser it is. Missing: pipelined requests are answered until the first `Connection: close`.
 * - `server[http.server.connections]` with `all()` and `idle()`: what `closeIdleConnections` asks before it destroys. Missing: only connections
 *   that never sent a byte count as idle, and connections that the server has not accepted are not known.
 * - The name of the parser's own `data` listener. Missing: a connection from which the program has once read by itself does not move.
 * - `parser.remove`: takes it off that list. Missing: `clientError` may be told of a connection that has moved before its first request.
 * - `socket.parser.incoming`: the request parsed last. Missing: every response is taken for the last one.
 * - `socket.parser.execute`, `onIncoming`: a connection that was adopted between two requests looks like one that has not sent
 *   its first: a request that nobody sees makes it idle. Missing: `headersTimeout` may answer it with 408.
 * - `socket._httpMessage`: the response being sent. Missing: responses under way are told apart by `writableLength` alone.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Server, Socket } from 'node:net';

interface Parser {
  readonly socket?: Socket | null;
  readonly incoming?: IncomingMessage | null;
  onIncoming?: ((...args: readonly [request: IncomingMessage, shouldKeepAlive: boolean]) => number) | undefined;
  execute?(bytes: Buffer): number | Error;
  remove?(): void;
}

interface ConnectionsList {
  all(): readonly Parser[];
  idle(): readonly Parser[];
}

interface HttpSocket {
  readonly server?: Server;
  readonly parser?: Parser | null;
  readonly _httpMessage?: ServerResponse | null;
}

const PARSERS_LISTENER = 'bound socketOnData';
/** Requests that nobody sees. */
const feigned = new WeakMap<Socket, IncomingMessage | null | undefined>();

/** The connection speaks HTTP/1.1, and was not upgraded. */
export function isHttp(socket: Socket): boolean {
  return (socket as HttpSocket).parser?.socket === socket;
}

/** The server whose parser reads the connection, which need not be the one that has accepted it. */
export function parsingServerOf(socket: Socket): Server | undefined {
  return isHttp(socket) ? (socket as HttpSocket).server : undefined;
}

/** The response that the connection is sending or waiting for. */
export function responseOf(socket: Socket): ServerResponse | undefined {
  return (socket as HttpSocket)._httpMessage ?? undefined;
}

/** Makes a connection on which nothing was read yet one that has had a request, to Node's own parser and its timeouts. */
export function feignRequest(socket: Socket): void {
  const { parser } = socket as HttpSocket;
  if (!parser?.execute || !parser.onIncoming) return;
  const { onIncoming } = parser;
  parser.onIncoming = () => 0;
  parser.execute(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
  parser.onIncoming = onIncoming;
  feigned.set(socket, parser.incoming);
}

/** Calls back once, right before the program gets the next request. */
export function onNextRequest(socket: Socket, callback: () => void): void {
  const { parser } = socket as HttpSocket;
  const onIncoming = parser?.onIncoming;
  if (!parser || !onIncoming) return;
  parser.onIncoming = (...args) => {
    parser.onIncoming = onIncoming;
    callback();
    return onIncoming(...args);
  };
}

/**
 * The next request that comes while nothing else is under way on its connection is answered with `Connection: close`, whatever its client asked for. `onLast` is called right before the
 * program gets it.
 */
export function endAtNextRequest(socket: Socket, onLast: () => void): void {
  const { parser } = socket as HttpSocket;
  const onIncoming = parser?.onIncoming;
  if (!parser || !onIncoming) return;
  parser.onIncoming = (request, shouldKeepAlive) => {
    if ((request as { readonly upgrade?: boolean }).upgrade || responseOf(socket)) return onIncoming(request, shouldKeepAlive);
    parser.onIncoming = onIncoming;
    onLast();
    return onIncoming(request, false);
  };
}

/** The request that the connection's parser has seen last. */
export function lastRequest(socket: Socket): IncomingMessage | undefined {
  return (socket as HttpSocket).parser?.incoming ?? undefined;
}

/** No further request is waiting behind this one on its connection. */
export function isLastRequest(request: IncomingMessage): boolean {
  const incoming = (request.socket as HttpSocket).parser?.incoming;
  return !incoming || incoming === request;
}

/** Every connection that a parser of this server reads, private ones and streams that are no sockets included. */
export function parsedConnections(server: object): Socket[] {
  return socketsOf(listOf(server)?.all() ?? []);
}

/** The server keeps account of its connections, as each does that has listened. */
export function keepsList(server: object): boolean {
  return listOf(server) !== undefined;
}

/** The connections that Node's own parser calls idle, less those with something unsent or unanswered. */
export function idleConnections(server: object): Socket[] {
  return socketsOf(listOf(server)?.idle() ?? []).filter(isBetweenRequests);
}

/** No response is being made or sent; the parser may be in the middle of a request. A program that hijacks a connection leaves its request unanswered. */
export function isBetweenRequests(socket: Socket): boolean {
  const { parser } = socket as HttpSocket;
  const isAnswered = !parser?.incoming || feigned.get(socket) === parser.incoming;
  return isAnswered && socket.writableLength === 0 && responseOf(socket) === undefined;
}

/** Nobody but the parser has an eye on what comes: it reads the handle itself, or the only listener is its own. */
export function isReadByParserAlone(socket: Socket): boolean {
  const isParsers = ({ name }: { readonly name: string }) => name === PARSERS_LISTENER;
  return socket.listenerCount('readable') === 0 && socket.listeners('data').every((listener) => isParsers(listener as { readonly name: string }));
}

/** The parser is no longer on its server's list: its connection has gone, and must not be timed out. */
export function unlist(socket: Socket): void {
  (socket as HttpSocket).parser?.remove?.();
}

function socketsOf(parsers: readonly Parser[]): Socket[] {
  return parsers.flatMap((parser) => (parser.socket ? [parser.socket] : []));
}

function listOf(server: object): ConnectionsList | undefined {
  const symbol = Object.getOwnPropertySymbols(server).find(({ description }) => description === 'http.server.connections');
  return symbol && (server as Record<symbol, ConnectionsList | undefined>)[symbol];
}
