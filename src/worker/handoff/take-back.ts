/** A connection that was offered, and that nobody wanted, goes on here. */
import type { Server, Socket } from 'node:net';
import type { Loan } from '../../node/connection.ts';
import { lingerClose } from '../closing/linger.ts';
import { type Arrival, type Baggage, type Berth, importState } from './carrier.ts';
import type { Pile, Scope } from './pile.ts';
import { mark, stateOptions } from './registry.ts';

/** What it had with it. */
export interface Return {
  readonly server: Server;
  readonly socket: Socket;
  readonly loan: Loan;
  readonly pile: Pile;
  readonly baggage: Baggage;
}

/**
 * On its socket, if that can have it again; otherwise as a successor would have adopted it. `complain` hears why the program could not.
 * @returns the socket that has it now; undefined: its server won't have it
 */
export function takeBack(scope: Scope, returned: Return, complain: (text: string) => void): Socket | undefined {
  const { socket, loan, pile } = returned;
  if (pile.carrier.letGo || !loan.giveBack()) return adoptAgain(scope, returned, complain);
  scope.registry.handedOff.delete(socket);
  scope.servers.track(returned.server, socket);
  return socket;
}

function adoptAgain({ servers, registry }: Scope, returned: Return, complain: (text: string) => void): Socket | undefined {
  const { server, pile, baggage } = returned;
  let arrival: Arrival | undefined;
  try {
    arrival = receiveAgain(returned);
    if (arrival === undefined) return undefined;
    registry.adopted.add(arrival.socket);
    servers.track(server, arrival.socket);
    pile.carrier.adopt({ server, arrival, baggage, state: importState(baggage), options: stateOptions(registry, server) });
    mark(registry.adopted, arrival.socket, pile.carrier);
    arrival.settle();
  } catch (error) {
    complain(`a connection that nobody took could not be taken back: ${error instanceof Error ? error.stack : String(error)}`);
    arrival?.settle();
    if (arrival) lingerClose(arrival.socket);
  }
  return arrival?.socket;
}

function receiveAgain({ server, loan, pile, baggage }: Return): Arrival | undefined {
  const { maxConnections } = server;
  let berth: Berth | undefined;
  try {
    berth = pile.transport.unpack(baggage.transport);
    server.maxConnections = Number.POSITIVE_INFINITY; // it was here before
    return berth?.receive(server, loan.handle);
  } finally {
    server.maxConnections = maxConnections;
    if (berth === undefined) loan.handle.close();
    loan.end();
  }
}
