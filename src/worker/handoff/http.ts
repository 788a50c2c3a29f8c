/**
 * HTTP/1.1 connections between two requests. To Node an adopted one looks brand-new: it is kept from the timeout for slow
 * first requests, and closed when the keep-alive timeout that it came with has passed.
 */
import type http from 'node:http';
import type { Socket } from 'node:net';
import { timeoutLeft } from '../../node/connection.ts';
import { forgetWaiting } from '../../node/http.ts';
import { lingerClose } from '../closing/linger.ts';
import { adoptState, type Baggage, type Carrier, exportState } from './carrier.ts';

interface HttpBaggage extends Baggage {
  /** Milliseconds of its keep-alive timeout that are left, null: it has none. Absent for a connection that never had a request. */
  readonly keepAliveMs?: number | null;
}

interface Adopted {
  /** `bytesRead` when it came: Node counts on where the same process takes a connection back. */
  readonly bytesRead: number;
  /** When it is to be closed if it stays idle; null: never. */
  readonly until: number | null;
}

const adopted = new WeakMap<Socket, Adopted>();

export const httpCarrier: Carrier = {
  pack({ server, socket, options }) {
    const state = exportState(options, socket);
    return state && { kind: 'http', ...state, ...keepAlive(server as http.Server, socket) };
  },
  adopt({ arrival, options, baggage }) {
    const { keepAliveMs } = baggage as HttpBaggage;
    arrival.announce();
    if (keepAliveMs !== undefined) continueKeepAlive(arrival.socket, keepAliveMs);
    adoptState(options, arrival.socket, baggage);
  },
};

/** No byte has come over this connection since it is here. */
export function isUntouched(socket: Socket): boolean {
  return socket.bytesRead === (adopted.get(socket)?.bytesRead ?? 0);
}

function keepAlive(server: http.Server, socket: Socket): Pick<HttpBaggage, 'keepAliveMs'> {
  if (!isUntouched(socket)) return { keepAliveMs: server.keepAliveTimeout > 0 ? timeoutLeft(socket) : null };
  const before = adopted.get(socket);
  if (before === undefined) return {};
  return { keepAliveMs: before.until === null ? null : Math.max(1, before.until - performance.now()) };
}

/** Node resets only timeouts that it set itself, so the socket's own is left alone: it would cut a slow handler. */
function continueKeepAlive(socket: Socket, keepAliveMs: number | null): void {
  const until = keepAliveMs === null ? null : performance.now() + keepAliveMs;
  adopted.set(socket, { bytesRead: socket.bytesRead, until });
  forgetWaiting(socket);
  if (keepAliveMs === null) return;
  const timer = setTimeout(() => isUntouched(socket) && lingerClose(socket), keepAliveMs);
  timer.unref();
  socket.once('close', () => clearTimeout(timer));
}
