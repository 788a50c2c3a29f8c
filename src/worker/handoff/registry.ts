/** What the program has said about moving, and who carries what. */
import type { Server, Socket } from 'node:net';
import { isHttp, isReadByParserAlone } from '../../node/http.ts';
import { isHttpServer, type Servers } from '../servers.ts';
import type { Baggage, Carrier, StateOptions, UpgradedCarrier } from './carrier.ts';
import { httpCarrier } from './http.ts';
import { tcpCarrier } from './tcp.ts';

/** One a process. */
export interface Registry {
  /** Servers that opted in, or out. */
  readonly options: WeakMap<Server, StateOptions | false>;
  readonly upgraded: UpgradedCarrier[];
  /** Connections that came from another worker. */
  readonly adopted: WeakSet<object>;
  /** Connections that went to another worker. */
  readonly handedOff: WeakSet<object>;
}

/** A registry in which nothing stands yet. */
export function makeRegistry(): Registry {
  return { options: new WeakMap(), upgraded: [], adopted: new WeakSet(), handedOff: new WeakSet() };
}

/** Plaintext HTTP/1.1 moves unless it opted out, anything else without TLS if it opted in. */
export function mayMove({ options }: Registry, server: Server): boolean {
  const said = options.get(server);
  return said !== false && !('setSecureContext' in server) && (said !== undefined || isHttpServer(server));
}

/** Where connections are found. */
export interface Scope {
  readonly servers: Servers;
  readonly registry: Registry;
}

/**
 * Who carries a connection away; undefined: it stays where it is. By itself moves only what is Node's own from its first byte to its last: accepted by the
 * server, given to the parser at once, and read by nobody else.
 */
export function carrierOf({ servers, registry }: Scope, server: Server, socket: Socket): Carrier | undefined {
  if (!mayMove(registry, server) || !servers.hasAccepted(server, socket)) return undefined;
  if (!isHttpServer(server)) return tcpCarrier;
  if (!isHttp(socket)) return registry.upgraded.find((carrier) => carrier.owns(socket));
  const isNodes = isReadByParserAlone(socket) && (servers.isFirstHand(socket) || hasOptedIn(registry, server));
  return isNodes ? httpCarrier : undefined;
}

/** Its program knows that connections move. */
export function hasOptedIn({ options }: Registry, server: Server): boolean {
  return Boolean(options.get(server));
}

/** Who can take in a connection with this baggage; undefined: nobody here. */
export function takerOf(registry: Registry, server: Server, baggage: Baggage): Carrier | undefined {
  if (!mayMove(registry, server)) return undefined;
  if (baggage.kind === 'tcp') return isHttpServer(server) ? undefined : tcpCarrier;
  if (!isHttpServer(server)) return undefined;
  return baggage.kind === 'http' ? httpCarrier : registry.upgraded.find((carrier) => carrier.accepts(server, baggage));
}

/** What the program said about the state of a server's connections. */
export function stateOptions({ options }: Registry, server: Server): StateOptions {
  return options.get(server) || {};
}
