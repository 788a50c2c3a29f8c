/** A connection that was offered, and that nobody wanted, goes on here. */
import type { Server, Socket } from 'node:net';
import { type Loan, receive } from '../../node/connection.ts';
import { lingerClose } from '../closing/linger.ts';
import { type Baggage, type Carrier, importState } from './carrier.ts';
import { type Scope, stateOptions } from './registry.ts';

/** What it had with it. */
export interface Return {
  readonly server: Server;
  readonly socket: Socket;
  readonly loan: Loan;
  readonly carrier: Carrier;
  readonly baggage: Baggage;
}

/**
 * On its socket, if that is still open; otherwise as a successor would have adopted it. `complain` hears why the program could not.
 * @returns the socket that has it now; undefined: its server won't have it
 */
export function takeBack(scope: Scope, returned: Return, complain: (text: string) => void): Socket | undefined {
  const { socket, loan } = returned;
  if (!loan.giveBack()) return adoptAgain(scope, returned, complain);
  scope.registry.handedOff.delete(socket);
  scope.servers.track(returned.server, socket);
  return socket;
}

function adoptAgain({ servers, registry }: Scope, { server, loan, carrier, baggage }: Return, complain: (text: string) => void): Socket | undefined {
  const { maxConnections } = server;
  server.maxConnections = Number.POSITIVE_INFINITY; // it was here before
  const arrival = receive(server, loan.handle);
  server.maxConnections = maxConnections;
  loan.end();
  if (arrival === undefined) return undefined;
  registry.adopted.add(arrival.socket);
  servers.track(server, arrival.socket);
  try {
    carrier.adopt({ server, arrival, baggage, state: importState(baggage), options: stateOptions(registry, server) });
  } catch (error) {
    complain(`a connection that nobody took could not be taken back: ${error instanceof Error ? error.stack : String(error)}`);
    lingerClose(arrival.socket);
  }
  return arrival.socket;
}
