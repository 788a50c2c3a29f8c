/**
 * HTTP/1.1 connections between two requests. To Node an adopted one looks brand-new: it is made to look idle, and closed when the keep-alive timeout that it came with has passed.
 */
import type http from 'node:http';
import type { Server, Socket } from 'node:net';
import { hasHandle, timeoutLeft } from '../../node/connection.ts';
import { feignRequest, idleConnections, isHttp, lastRequest, onNextRequest, unlist } from '../../node/http.ts';
import { lingerClose } from '../closing/linger.ts';
import { guarded } from '../guard.ts';
import { type Baggage, type Carrier, exportState } from './carrier.ts';
import { endInTime } from './dear.ts';

interface HttpBaggage extends Baggage {
  /** Milliseconds of its keep-alive timeout that are left, null: it has none. Absent for a connection that never had a request. */
  readonly keepAliveMs?: number | null;
}

interface Adopted {
  /** What the parser takes for the last request as long as there was none here. */
  readonly feigned: http.IncomingMessage | undefined;
  readonly bytesRead: number;
  /** When it is to be closed if it stays idle; null: never. */
  readonly until: number | null;
}

/** Their programs have something else between a connection and its first request: no other one is tried. */
const readsFirst = new WeakSet<Server>();
const adopted = new WeakMap<Socket, Adopted>();

export const httpCarrier: Carrier = {
  leavesSilently: true,
  pack({ server, socket, options }) {
    const state = exportState(options, socket);
    return state && { kind: 'http', ...state, ...keepAlive(server as http.Server, socket) };
  },
  adopt({ server, arrival, options, baggage, state }) {
    const { keepAliveMs } = baggage as HttpBaggage;
    if (!readsFirst.has(server)) arrival.announce();
    if (!isHttp(arrival.socket)) readsFirst.add(server);
    if (readsFirst.has(server)) throw new Error('its server reads something else before the first request');
    if (keepAliveMs !== undefined) continueKeepAlive(server as http.Server, arrival.socket, keepAliveMs);
    options.adopt?.(arrival.socket, state);
    if (arrival.isDear) endInTime(arrival.socket);
  },
  forget: unlist,
};

function keepAlive(server: http.Server, socket: Socket): Pick<HttpBaggage, 'keepAliveMs'> {
  const before = adopted.get(socket);
  if (before && hadNoRequest(socket, before)) return { keepAliveMs: before.until === null ? null : Math.max(1, before.until - performance.now()) };
  if (socket.bytesRead === 0) return {};
  return { keepAliveMs: server.keepAliveTimeout > 0 ? timeoutLeft(socket) : null };
}

function hadNoRequest(socket: Socket, { feigned }: Adopted): boolean {
  return lastRequest(socket) === feigned;
}

/**
 * The socket's own timeout is what the server gives to connections that wait for their first request, or a `connection` listener. This one has had its
 * first, and is owed what Node gives to the next.
 */
function continueKeepAlive(server: http.Server, socket: Socket, keepAliveMs: number | null): void {
  feignRequest(socket);
  const until = keepAliveMs === null ? null : performance.now() + keepAliveMs;
  const arrived: Adopted = { feigned: lastRequest(socket), bytesRead: socket.bytesRead, until };
  adopted.set(socket, arrived);
  if (keepAliveMs === null) return;
  socket.setTimeout(0);
  onNextRequest(socket, () => socket.setTimeout(server.timeout || 0));
  const closeIfIdle = guarded(() => void (isStillIdle(server, socket, arrived) && lingerClose(socket)));
  const timer = setTimeout(closeIfIdle, keepAliveMs);
  timer.unref();
  socket.once('close', () => clearTimeout(timer));
}

/** What has come may be the head of a request, or an empty line between two of them, which only the parser can tell. */
function isStillIdle(server: http.Server, socket: Socket, arrived: Adopted): boolean {
  return hasHandle(socket) && hadNoRequest(socket, arrived) && (socket.bytesRead === arrived.bytesRead || idleConnections(server).includes(socket));
}
