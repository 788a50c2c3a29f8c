/**
 * What Node's HTTP/1.1 server knows of its connections but does not tell.
 *
 * Undocumented, each tried on 20.20, 22.23, 24.21, 26.10:
 * - `socket.parser`: an HTTP connection has one until it is upgraded. Missing: the connection counts as upgraded, and is
 *   left alone until the drain timeout.
 * - `socket.parser.incoming`: the request parsed last. Missing: every response is taken for the last one.
 * - `socket.parser.execute`, `onIncoming`: a connection that was adopted between two requests looks like one that has not sent
 *   its first: a request that nobody sees makes it idle. Missing: `headersTimeout` may answer it with 408.
 * - `socket._httpMessage`: the response being sent. Missing: responses under way are told apart by `writableLength` alone.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { type Socket, Socket as SocketClass } from 'node:net';

interface Parser {
  readonly incoming?: IncomingMessage | null;
  onIncoming?: ((request: IncomingMessage) => number) | undefined;
  execute?(bytes: Buffer): number | Error;
}

interface HttpSocket {
  readonly parser?: Parser | null;
  readonly _httpMessage?: ServerResponse | null;
}

/** The connection speaks HTTP/1.1, and was not upgraded. */
export function isHttp(socket: Socket): boolean {
  return Boolean((socket as HttpSocket).parser);
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

/**
 * The connections that Node's own parser calls idle, less those with something unsent. `closeIdleConnections` knows them:
 * for the one call, `destroy` names a connection instead of destroying it.
 */
export function idleConnections(server: Pick<Server, 'closeIdleConnections'>): Socket[] {
  const idle: Socket[] = [];
  const prototype = SocketClass.prototype as { destroy: (this: Socket) => Socket };
  const own = Object.getOwnPropertyDescriptor(prototype, 'destroy');
  prototype.destroy = function () {
    idle.push(this);
    return this;
  };
  try {
    server.closeIdleConnections();
  } finally {
    if (own === undefined) Reflect.deleteProperty(prototype, 'destroy');
    else Object.defineProperty(prototype, 'destroy', own);
  }
  return idle.filter((socket) => socket.writableLength === 0 && responseOf(socket) === undefined);
}
