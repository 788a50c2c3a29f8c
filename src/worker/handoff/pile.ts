/** What a connection is made of: the one place where that is found out, by whoever lets it go and by whoever takes it in. */
import type { Server, Socket } from 'node:net';
import { isHttp, isReadByParserAlone } from '../../node/http.ts';
import { isHttp2Server, sessionOf } from '../../node/http2.ts';
import { isHttpServer, type Servers } from '../servers.ts';
import type { Baggage, Carrier, Transport } from './carrier.ts';
import { httpCarrier } from './http.ts';
import { http2Carrier } from './http2/carrier.ts';
import { rawCarrier } from './raw.ts';
import { hasOptedIn, type Registry } from './registry.ts';
import type { Transports } from './transports.ts';

/** The layers of a connection. */
export interface Pile {
  readonly transport: Transport;
  readonly carrier: Carrier;
}

/** Where connections are found. */
export interface Scope {
  readonly servers: Servers;
  readonly registry: Registry;
  readonly transports: Transports;
}

/** HTTP moves unless it opted out, anything else if it opted in; nothing moves of which nobody carries what lies below. */
export function mayMove({ registry, transports }: Omit<Scope, 'servers'>, server: Server): boolean {
  const said = registry.options.get(server);
  return said !== false && transports.of(server) !== undefined && (said !== undefined || isHttpServer(server) || isHttp2Server(server));
}

/** Who carries a connection away; undefined: it stays where it is. */
export function pileOf(scope: Scope, server: Server, socket: Socket): Pile | undefined {
  const transport = mayMove(scope, server) ? scope.transports.of(server) : undefined;
  if (!transport?.carries(socket) || !scope.servers.hasAccepted(server, socket)) return undefined;
  const carrier = carrierOf(scope, server, socket);
  return carrier && { transport, carrier };
}

/** Who can take in a connection with this baggage; undefined: nobody here. */
export function pileFor(scope: Scope, server: Server, baggage: Baggage): Pile | undefined {
  const transport = mayMove(scope, server) ? scope.transports.of(server) : undefined;
  if (transport?.kind !== baggage.transport?.kind) return undefined;
  const carrier = takerOf(scope.registry, server, baggage);
  return transport && carrier && { transport, carrier };
}

/**
 * By itself moves only what is Node's own from its first byte to its last: accepted by the server, given to the parser at once, and read by nobody else.
 */
function carrierOf({ servers, registry }: Scope, server: Server, socket: Socket): Carrier | undefined {
  if (sessionOf(socket)) return http2Carrier;
  if (!isHttpServer(server)) return isHttp2Server(server) ? undefined : rawCarrier;
  if (!isHttp(socket)) return registry.upgraded.find((carrier) => carrier.owns(socket));
  const isNodes = isReadByParserAlone(socket) && (servers.isFirstHand(socket) || hasOptedIn(registry, server));
  return isNodes ? httpCarrier : undefined;
}

function takerOf(registry: Registry, server: Server, baggage: Baggage): Carrier | undefined {
  if (baggage.kind === 'http2') return isHttp2Server(server) ? http2Carrier : undefined;
  if (baggage.kind === 'raw') return isHttpServer(server) || isHttp2Server(server) ? undefined : rawCarrier;
  if (!isHttpServer(server)) return undefined;
  return baggage.kind === 'http' ? httpCarrier : registry.upgraded.find((carrier) => carrier.accepts(server, baggage));
}
