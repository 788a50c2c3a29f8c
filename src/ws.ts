/**
 * WebSockets of the `ws` library that live on across a reload. Needs `ws` 8 beside it. `ws` has no API for taking a WebSocket
 * from one process to another, so its fields are read here; where one is missing, the connection counts as one that can't
 * move now. Tried with ws 8.18 and 8.23.
 */
import { IncomingMessage } from 'node:http';
import type { Server, Socket } from 'node:net';
import type { WebSocket, WebSocketServer } from 'ws';
import * as library from 'ws';
import { adoptState, type Baggage, exportState, type UpgradedCarrier } from './worker/handoff/carrier.ts';
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
  readonly rawHeaders: readonly string[];
  /** Parameters of permessage-deflate as they were negotiated; absent without it. */
  readonly deflate?: object;
}

interface Deflate {
  readonly params?: object | null;
}

/** What `ws` keeps to itself. */
interface Internals {
  _protocol: string;
  _extensions: Record<string, Deflate>;
  readonly _receiver?: {
    readonly _state: number;
    readonly _bufferedBytes: number;
    readonly _fragmented: number;
    readonly _fragments: unknown[];
    readonly writableLength: number;
  };
  readonly _sender?: { readonly _bufferedBytes: number; readonly _queue: unknown[]; readonly _state?: number; readonly _deflating?: boolean };
  setSocket(socket: Socket, head: Buffer, options: object): void;
}

interface InternalServer {
  readonly options: {
    readonly WebSocket: new (address: null, protocols: undefined, options: object) => WebSocket;
    readonly server?: Server;
    readonly path?: string;
    readonly perMessageDeflate?: object | boolean;
    readonly maxPayload?: number;
  };
  readonly _shouldEmitClose?: boolean;
}

/** Exported by ws since 8.19; without it no WebSocket that compresses can move. */
const { PerMessageDeflate } = library as { readonly PerMessageDeflate?: new (options: object) => Deflate };
const DEFLATE = 'permessage-deflate';
const WAITS_FOR_A_FRAME = 0; // of the receiver
const SENDS_NOTHING = 0; // of the sender

/**
 * Lets the WebSockets of this server live on in the next worker at a reload, between two messages. To the program a WebSocket
 * that leaves is closed (`isHandedOff` is true of it), and one that comes is a new `connection` (`isAdopted` is true of it),
 * with the request that it began with. Does nothing without a supervisor.
 */
export function handoffWebSockets<State>(server: WebSocketServer, options: WebSocketHandoffOptions<State> = {}): void {
  const runtime = findRuntime();
  if (runtime === undefined) return;
  const requests = new WeakMap<Socket, { readonly webSocket: WebSocket; readonly request: IncomingMessage }>();
  server.on('connection', (webSocket: WebSocket, request: IncomingMessage) => requests.set(request.socket, { webSocket, request }));
  const internal = server as unknown as InternalServer;
  const name = options.name ?? internal.options.path ?? '';
  runtime.upgraded.push({
    owns: (socket) => requests.has(socket),
    accepts: (httpServer, baggage) => baggage.kind === 'websocket' && (baggage as WebSocketBaggage).name === name && isAttachedTo(internal, httpServer),
    pack({ socket }) {
      const known = requests.get(socket);
      if (known === undefined || !isBetweenMessages(known.webSocket)) return undefined;
      const state = exportState(options, known.webSocket);
      if (state === undefined) return undefined;
      runtime.handedOff.add(known.webSocket);
      return { kind: 'websocket', name, ...describe(known), ...state };
    },
    adopt({ arrival, baggage }) {
      const { socket } = arrival;
      const webSocket = open(server, socket, baggage as WebSocketBaggage);
      runtime.adopted.add(webSocket);
      server.emit('connection', webSocket, requestOf(socket, baggage as WebSocketBaggage));
      adoptState(options as WebSocketHandoffOptions, webSocket, baggage);
    },
  } satisfies UpgradedCarrier);
}

/** One without a server of its own is fed by hand, from whichever server the program likes. */
function isAttachedTo({ options }: InternalServer, httpServer: Server): boolean {
  return options.server === undefined || options.server === null || options.server === httpServer;
}

/** Nothing is half-received or half-sent, and no compression remembers earlier messages. */
function isBetweenMessages(webSocket: WebSocket): boolean {
  const { _receiver: receiver, _sender: sender, _extensions: extensions } = webSocket as unknown as Internals;
  if (webSocket.readyState !== webSocket.OPEN || webSocket.isPaused || !receiver || !sender) return false;
  const hasRead = receiver._state === WAITS_FOR_A_FRAME && receiver._bufferedBytes === 0 && receiver.writableLength === 0;
  const isWhole = receiver._fragmented === 0 && receiver._fragments.length === 0;
  const hasSent = sender._bufferedBytes === 0 && sender._queue.length === 0 && (sender._state ?? SENDS_NOTHING) === SENDS_NOTHING && !sender._deflating;
  return hasRead && isWhole && hasSent && !remembers(extensions[DEFLATE]);
}

function remembers(deflate: Deflate | undefined): boolean {
  if (deflate === undefined) return false;
  const { server_no_context_takeover: server, client_no_context_takeover: client } = (deflate.params ?? {}) as Record<string, unknown>;
  return !server || !client || PerMessageDeflate === undefined;
}

function describe({ webSocket, request }: { webSocket: WebSocket; request: IncomingMessage }): Omit<WebSocketBaggage, 'kind' | 'name'> {
  const { params } = (webSocket as unknown as Internals)._extensions[DEFLATE] ?? {};
  const deflate = params ? { deflate: params } : {};
  return { protocol: webSocket.protocol, url: request.url ?? '/', rawHeaders: request.rawHeaders, ...deflate };
}

/** What `ws` does after the handshake, which lies behind this connection. */
function open(server: WebSocketServer, socket: Socket, { protocol, deflate }: WebSocketBaggage): WebSocket {
  const { options, _shouldEmitClose } = server as unknown as InternalServer;
  const webSocket = new options.WebSocket(null, undefined, options);
  const internal = webSocket as unknown as Internals;
  internal._protocol = protocol;
  if (deflate !== undefined) internal._extensions = { [DEFLATE]: openDeflate(options, deflate) };
  internal.setSocket(socket, Buffer.alloc(0), options);
  if (!server.clients) return webSocket;
  server.clients.add(webSocket);
  webSocket.on('close', () => {
    server.clients.delete(webSocket);
    if (_shouldEmitClose && server.clients.size === 0) process.nextTick(() => server.emit('close'));
  });
  return webSocket;
}

function openDeflate({ perMessageDeflate, maxPayload }: InternalServer['options'], params: object): Deflate {
  if (!perMessageDeflate || PerMessageDeflate === undefined) throw new Error('this WebSocket compresses, and the new code does not');
  const options = { ...(perMessageDeflate === true ? {} : perMessageDeflate), isServer: true, maxPayload };
  return Object.assign(new PerMessageDeflate(options), { params }); // negotiated long ago
}

function requestOf(socket: Socket, { url, rawHeaders }: WebSocketBaggage): IncomingMessage {
  const request = new IncomingMessage(socket);
  return Object.assign(request, {
    method: 'GET',
    url,
    rawHeaders: [...rawHeaders],
    httpVersion: '1.1',
    httpVersionMajor: 1,
    httpVersionMinor: 1,
    complete: true,
  });
}
