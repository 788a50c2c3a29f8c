/**
 * HTTP/1.1 in a draining worker, where a connection can't move. Every response that is the last one its connection waits for says `Connection: close`;
 * idle connections are closed after the grace. Installed when the drain begins: before it, nothing is done per request.
 */
import type http from 'node:http';
import type { Server, Socket } from 'node:net';
import { idleConnections, isBetweenRequests, isHttp, isLastRequest, keepsList, parsingServerOf } from '../../node/http.ts';
import { lingerClose } from './linger.ts';

/** Connections whose last response has begun: a request that still arrives can't be answered on them. */
const closing = new WeakSet<Socket>();
const REQUEST_EVENTS = ['request', 'checkContinue', 'checkExpectation'];

/** What is idle among some connections. */
export interface Idle {
  /** Whose parsers read the connections. */
  readonly servers: ReadonlySet<Server>;
  readonly sure: readonly Socket[];
  /** Of servers that never listened: such a connection may be in the middle of a request's head, which only time can tell. */
  readonly unsure: readonly Socket[];
}

/** Makes every further response end its connection, unless that will move. Called once a process. */
export function closeAfterResponses(willMove: (socket: Socket) => boolean): void {
  const { prototype } = process.getBuiltinModule('node:http').ServerResponse; // loaded by now, since the program has such a server
  const writeHead = prototype.writeHead as (...args: unknown[]) => http.ServerResponse;
  prototype.writeHead = function (this: http.ServerResponse, ...args: unknown[]) {
    const socket = this.req?.socket as Socket | undefined; // a response may also be made by hand, with no connection
    if (!this.headersSent && socket && isHttp(socket) && !willMove(socket) && isLastRequest(this.req)) {
      closing.add(socket);
      this.shouldKeepAlive = false;
      socket.destroySoon = () => lingerClose(socket);
      const at = args.findLastIndex((argument) => typeof argument === 'object' && argument !== null);
      if (at < 0) this.setHeader('Connection', 'close');
      else args[at] = withClose(args[at] as object);
    }
    return Reflect.apply(writeHead, this, args);
  } as typeof prototype.writeHead;
}

const settled = new WeakSet<Server>();

/** What has to do with connections that move. */
export interface Moves {
  willMove(socket: Socket): boolean;
  /** Its client waits for an answer. */
  onRequest(socket: Socket): void;
  afterResponse(): void;
}

/**
 * Once a server, holds each request back until everything that arrived with it is parsed: only then is it known which of several
 * pipelined requests is the last. Requests behind a last response are dropped unseen, so their client may send them again.
 * On a connection that will move nothing is the last request; `onRequest` is called for each, `afterResponse` when it may be idle.
 */
export function settlePipelines(server: Server, { willMove, onRequest, afterResponse }: Moves): void {
  if (settled.has(server)) return;
  settled.add(server);
  const emit = server.emit;
  server.emit = function (this: Server, event: string, ...args: unknown[]) {
    if (!REQUEST_EVENTS.includes(event)) return Reflect.apply(emit, this, [event, ...args]) as boolean;
    const [{ socket }, response] = args as [http.IncomingMessage, http.ServerResponse];
    if (closing.has(socket)) return true;
    if (willMove(socket)) {
      onRequest(socket);
      response.once('finish', () => process.nextTick(afterResponse)); // Node's own listener makes it idle first
      return Reflect.apply(emit, this, [event, ...args]) as boolean;
    }
    process.nextTick(() => {
      if (!closing.has(socket)) Reflect.apply(emit, this, [event, ...args]);
    });
    return true;
  } as typeof server.emit;
}

/** Which of these connections wait for a request, those that never sent a byte included. */
export function findIdle(connections: readonly Socket[]): Idle {
  const open = connections.filter((socket) => isHttp(socket) && !closing.has(socket));
  const servers = new Set(open.flatMap((socket) => parsingServerOf(socket) ?? []));
  const idle = new Set([...servers].flatMap(idleConnections));
  const isUnused = (socket: Socket) => socket.bytesRead === 0 && isBetweenRequests(socket);
  const isUnlisted = (socket: Socket) => !keepsList(parsingServerOf(socket) ?? {}) && isBetweenRequests(socket);
  return { servers, sure: open.filter((socket) => idle.has(socket) || isUnused(socket)), unsure: open.filter(isUnlisted) };
}

/** Closes an idle connection. */
export function closeIdle(socket: Socket): void {
  closing.add(socket);
  lingerClose(socket);
}

/**
 * A program that gives its own `Connection` header to `writeHead` is overruled there: beside a header that was set before,
 * Node would not take pairs, and of two with the same name only one.
 */
function withClose(headers: object): object {
  const isConnection = (name: unknown) => String(name).toLowerCase() === 'connection';
  if (!Array.isArray(headers)) return { ...Object.fromEntries(Object.entries(headers).filter(([name]) => !isConnection(name))), Connection: 'close' };
  if (Array.isArray(headers[0])) return [...headers.filter(([name]) => !isConnection(name)), ['Connection', 'close']];
  return [...headers.filter((_, index) => !isConnection(headers[index - (index % 2)])), 'Connection', 'close'];
}
