/**
 * WebSockets that live on across a reload, of the `ws` library from 8.0 on. `ws` has no API for taking a WebSocket from one
 * process to another, so its fields are read here; where one is missing or differs, the WebSocket counts as one that can't
 * move now. Tried with ws 8.0.0, 8.1.0, 8.5.0, 8.13.0, 8.17.1, 8.18.0, 8.20.0, 8.21.0, 8.23.0.
 */
import { IncomingMessage } from 'node:http';
import type { Server, Socket } from 'node:net';
import type { WebSocket, WebSocketServer } from 'ws';
import * as library from 'ws';
import { type Baggage, exportState, type UpgradedCarrier } from './worker/handoff/carrier.ts';
import { followTalk, isOwed } from './worker/handoff/owed.ts';
import { findRuntime } from './worker/runtime.ts';

/** What goes with a WebSocket to the worker that adopts it. */
export interface WebSocketHandoffOptions<State = unknown> {
  /** Tells apart several WebSocket servers of a program; by default their `path` does. */
  name?: string;
  /** As for `handoff`: between two messages, right before the WebSocket leaves; `undefined` means "not now". */
  export?(webSocket: WebSocket): State | undefined;
  /** Called after the `connection` listeners of the WebSocket server, before anything is read. */
  adopt?(webSocket: WebSocket, state: State): void;
}

interface WebSocketBaggage extends Baggage {
  readonly name: string;
  readonly protocol: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly rawHeaders: readonly string[];
  /** Parameters of permessage-deflate as they were negotiated; absent without it. */
  readonly deflate?: object;
}

/** A WebSocket and the request that it began with. */
interface Known {
  readonly webSocket: WebSocket;
  readonly request: IncomingMessage;
}

interface WebSocketCarrier extends UpgradedCarrier {
  readonly name: string;
  /** undefined: it is fed by hand, from whichever server the program likes. */
  readonly httpServer: Server | undefined;
}

interface Deflate {
  readonly params?: object | null;
}

type WebSocketClass = new (address: null, protocols: undefined, options: object) => WebSocket;
type DeflateClass = new (options: object) => Deflate;

/** What `ws` keeps to itself. */
interface Internals {
  _protocol: string;
  _extensions: Record<string, Deflate | undefined>;
  readonly _receiver?: {
    readonly _state?: number;
    readonly _bufferedBytes?: number;
    readonly _fragmented?: number;
    readonly _fragments?: unknown[];
    readonly writableLength: number;
  };
  /** `_state` since 8.18, `_deflating` before. */
  readonly _sender?: { readonly _bufferedBytes?: number; readonly _queue?: unknown[]; readonly _state?: number; readonly _deflating?: boolean };
  setSocket(socket: Socket, head: Buffer, options: object | number): void;
}

interface InternalServer {
  readonly options: {
    /** Since 8.5. */
    readonly WebSocket?: WebSocketClass;
    readonly perMessageDeflate?: object | boolean;
    readonly path?: string | null;
    readonly maxPayload?: number;
    /** Since 8.1. */
    readonly skipUTF8Validation?: boolean;
  };
  /** undefined without an HTTP server of its own; null when it is closed, too. */
  readonly _server?: Server | null;
  _state: number;
  readonly _shouldEmitClose?: boolean;
}

/** What WebSockets of a server are made from. */
interface Parts {
  readonly WebSocket: WebSocketClass;
  /** undefined: those that compress can't move. */
  readonly PerMessageDeflate: DeflateClass | undefined;
}

const DEFLATE = 'permessage-deflate';
const RUNS = 0; // a server
const CLOSED = 2;
const WAITS_FOR_A_FRAME = 0; // a receiver
const SENDS_NOTHING = 0; // a sender

/**
 * Lets the WebSockets of this server live on in the next worker at a reload, between two messages. To the program a WebSocket
 * that leaves is closed (`isHandedOff` is true of it), and one that comes is a new `connection` (`isAdopted` is true of it),
 * with the request that it began with. One that was never announced by `connection` stays. Does nothing without a supervisor.
 * @throws TypeError if two servers can't be told apart
 */
export function handoffWebSockets<State>(server: WebSocketServer, options: WebSocketHandoffOptions<State> = {}): void {
  const runtime = findRuntime();
  const parts = partsOf(server);
  if (runtime === undefined || parts === undefined) return;
  const known = watchConnections(server, runtime.handedOff);
  const internal = server as unknown as InternalServer;
  const httpServer = internal._server ?? undefined;
  const name = options.name ?? internal.options.path ?? '';
  const carrier: WebSocketCarrier = {
    name,
    httpServer,
    owns: (socket) => known.has(socket),
    accepts: (target, baggage) => internal._state === RUNS && matches(carrier, target, baggage),
    pack({ socket }) {
      const found = known.get(socket);
      if (found === undefined || isOwed(found.webSocket, ['message', 'send']) || !isBetweenMessages(found.webSocket, parts)) return undefined;
      const state = exportState(options, found.webSocket);
      // `export` may have sent something, or closed it
      if (state === undefined || !isBetweenMessages(found.webSocket, parts)) return undefined;
      return { kind: 'websocket', name, ...describe(found), ...state };
    },
    adopt({ arrival: { socket }, baggage, state }) {
      const webSocket = open(server, parts, socket, baggage as WebSocketBaggage);
      runtime.adopted.add(webSocket);
      server.emit('connection', webSocket, requestOf(socket, baggage as WebSocketBaggage));
      options.adopt?.(webSocket, state as State);
    },
  };
  register(runtime.upgraded, carrier);
  server.once('close', () => runtime.upgraded.splice(runtime.upgraded.indexOf(carrier), 1));
}

function watchConnections(server: WebSocketServer, handedOff: WeakSet<object>): WeakMap<Socket, Known> {
  const known = new WeakMap<Socket, Known>();
  server.on('connection', (webSocket: WebSocket, request?: IncomingMessage) => {
    if (!request?.socket) return; // a program may announce without one
    const { socket } = request;
    followTalk(webSocket, 'message');
    known.set(socket, { webSocket, request });
    socket.prependListener('close', () => handedOff.has(socket) && handedOff.add(webSocket)); // before ws tells the program
  });
  return known;
}

/** @returns undefined where this copy of `ws` lacks something; then nothing moves */
function partsOf(server: WebSocketServer): Parts | undefined {
  const { WebSocketServer, WebSocket, PerMessageDeflate } = library as unknown as {
    readonly WebSocketServer: new () => WebSocketServer;
    readonly WebSocket: WebSocketClass;
    readonly PerMessageDeflate?: DeflateClass; // exported since 8.20
  };
  const isSameCopy = server instanceof WebSocketServer; // parts of another one may not fit
  const ofServer = (server as unknown as InternalServer).options.WebSocket ?? (isSameCopy ? WebSocket : undefined);
  return ofServer && { WebSocket: ofServer, PerMessageDeflate: isSameCopy ? PerMessageDeflate : undefined };
}

/** Two of the same name would be given each other's WebSockets. */
function register(carriers: UpgradedCarrier[], carrier: WebSocketCarrier): void {
  const { name, httpServer } = carrier;
  const isLike = (other: Partial<WebSocketCarrier>) => other.name === name && (!httpServer || !other.httpServer || other.httpServer === httpServer);
  if (carriers.some(isLike))
    throw new TypeError(`two WebSocket servers are called '${name}': give each a name of its own, handoffWebSockets(server, { name })`);
  carriers.push(carrier);
}

function matches({ name, httpServer }: WebSocketCarrier, target: Server, baggage: Baggage): boolean {
  if (baggage.kind !== 'websocket' || (baggage as WebSocketBaggage).name !== name) return false;
  return httpServer === undefined || httpServer === target;
}

/** Nothing is half-received or half-sent, and no compression remembers earlier messages. */
function isBetweenMessages(webSocket: WebSocket, parts: Parts): boolean {
  const { _receiver: receiver, _sender: sender, _extensions: extensions } = webSocket as unknown as Internals;
  if (webSocket.readyState !== webSocket.OPEN || webSocket.isPaused || !receiver || !sender) return false;
  const hasRead = receiver._state === WAITS_FOR_A_FRAME && receiver._bufferedBytes === 0 && receiver.writableLength === 0;
  const isWhole = receiver._fragmented === 0 && receiver._fragments?.length === 0;
  const isIdle = sender._state === SENDS_NOTHING || sender._deflating === false;
  const hasSent = isIdle && sender._bufferedBytes === 0 && sender._queue?.length === 0;
  return hasRead && isWhole && hasSent && isForgetful(extensions[DEFLATE], parts);
}

function isForgetful(deflate: Deflate | undefined, { PerMessageDeflate }: Parts): boolean {
  if (deflate === undefined) return true;
  const { server_no_context_takeover: server, client_no_context_takeover: client } = (deflate.params ?? {}) as Record<string, unknown>;
  return Boolean(server && client && PerMessageDeflate);
}

function describe({ webSocket, request }: Known): Omit<WebSocketBaggage, 'kind' | 'name'> {
  const { params } = (webSocket as unknown as Internals)._extensions[DEFLATE] ?? {};
  const deflate = params ? { deflate: params } : {};
  const { url = '/', headers, rawHeaders } = request;
  return { protocol: webSocket.protocol, url, headers, rawHeaders, ...deflate };
}

/** What `ws` does after the handshake, which lies behind this connection. */
function open(server: WebSocketServer, parts: Parts, socket: Socket, { protocol, deflate }: WebSocketBaggage): WebSocket {
  const internalServer = server as unknown as InternalServer;
  const { options } = internalServer;
  const webSocket = new parts.WebSocket(null, undefined, options);
  const internal = webSocket as unknown as Internals;
  internal._protocol = protocol;
  if (deflate !== undefined) internal._extensions = { [DEFLATE]: openDeflate(options, parts, deflate) };
  internal.setSocket(socket, Buffer.alloc(0), options.skipUTF8Validation === undefined ? (options.maxPayload ?? 0) : options);
  if (!server.clients) return webSocket;
  server.clients.add(webSocket);
  webSocket.on('close', () => {
    server.clients.delete(webSocket);
    if (internalServer._shouldEmitClose && server.clients.size === 0) process.nextTick(emitClose, server);
  });
  return webSocket;
}

function emitClose(server: WebSocketServer): void {
  (server as unknown as InternalServer)._state = CLOSED;
  server.emit('close');
}

function openDeflate({ perMessageDeflate, maxPayload }: InternalServer['options'], { PerMessageDeflate }: Parts, params: object): Deflate {
  if (!perMessageDeflate || PerMessageDeflate === undefined) throw new Error('this WebSocket compresses, and the new code does not');
  const options = { ...(perMessageDeflate === true ? {} : perMessageDeflate), isServer: true, maxPayload };
  return Object.assign(new PerMessageDeflate(options), { params }); // negotiated long ago
}

/** Node fills in the headers only of requests that it has parsed itself. */
function requestOf(socket: Socket, { url, headers, rawHeaders }: WebSocketBaggage): IncomingMessage {
  const request = new IncomingMessage(socket);
  return Object.assign(request, { method: 'GET', url, headers, rawHeaders, httpVersion: '1.1', httpVersionMajor: 1, httpVersionMinor: 1, complete: true });
}
