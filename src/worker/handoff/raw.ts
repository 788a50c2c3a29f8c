/** Raw connections of a server that opted in. Nothing of the protocol is known here: what is to go on, the program exports. */
import type { Server, Socket } from 'node:net';
import { idleConnections, parsingServerOf } from '../../node/http.ts';
import { isHttpServer } from '../servers.ts';
import { type Carrier, exportState } from './carrier.ts';
import { followTalk, isOwed } from './owed.ts';
import { hasOptedIn, type Registry } from './registry.ts';

export const rawCarrier: Carrier = {
  isProgramsOwn: true,
  pack({ socket, options }) {
    const parsing = parsingServerOf(socket); // the program gave it to an HTTP server of its own
    if (parsing && !idleConnections(parsing).includes(socket)) return undefined;
    if (isOwed(socket, ['data', 'write'], socket.bytesRead)) return undefined;
    const state = exportState(options, socket);
    return state && { kind: 'raw', ...state };
  },
  adopt({ arrival, options, state }) {
    arrival.announce();
    options.adopt?.(arrival.socket, state);
  },
};

/** A connection that will move as a raw one is followed from its beginning on. */
export function followRaw(registry: Registry, server: Server, socket: Socket): void {
  if (hasOptedIn(registry, server) && !isHttpServer(server)) followTalk(socket, 'data');
}
