/**
 * What Node's HTTP/1.1 server knows of its connections but does not tell.
 *
 * Undocumented, each tried on 20.20, 22.23, 24.21, 26.10:
 * - `socket.parser`: an HTTP connection has one until it is upgraded. Missing: the connection counts as upgraded, and is
 *   left alone until the drain timeout.
 * - `socket.parser.incoming`: the request parsed last. Missing: every response is taken for the last one.
 * - `socket.parser.remove`: takes a connection off the list by which `headersTimeout` is watched, until its next request
 *   begins. Missing: a connection that was adopted idle may be answered with 408 after that timeout.
 * - `socket._httpMessage`: the response being sent. Missing: responses under way are told apart by `writableLength` alone.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { type Socket, Socket as SocketClass } from 'node:net';

interface HttpSocket {
  readonly parser?: { readonly incoming?: IncomingMessage | null; remove?(): void } | null;
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

/** A connection that has had requests before is no slow sender of its first one: `headersTimeout` is not for it. */
export function forgetWaiting(socket: Socket): void {
  (socket as HttpSocket).parser?.remove?.();
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
