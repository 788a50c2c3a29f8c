/** Takes in connections from workers that drain. Nothing is read from one before its ticket is taken. */
import type { Server } from 'node:net';
import type { ConnectionHandle } from '../../node/connection.ts';
import type { FromWorker, ToWorker } from '../../protocol/worker.ts';
import { type Arrival, type Baggage, type Berth, type Carrier, importState } from './carrier.ts';
import { pileFor, type Scope } from './pile.ts';
import { mark, stateOptions } from './registry.ts';

type Adopt = Extract<ToWorker, { type: 'adopt' }>;

/** What adopting needs. */
export interface AdopterHost extends Scope {
  /** @throws an error for the log if it can't be found out whose it is */
  takeTicket(ticket: number): boolean;
  isDraining(): boolean;
  tell(message: FromWorker): void;
}

/** @returns adopts a connection or refuses it; either is told, in the same tick */
export function prepareAdopter(host: AdopterHost): (message: Adopt, handle: ConnectionHandle | undefined) => void {
  return (message, handle) => {
    const { ticket } = message;
    const refusal = handle === undefined ? notNow('its descriptor did not arrive') : adopt(host, message, handle);
    if (refusal !== undefined) return host.tell({ type: 'refused', ticket, ...refusal });
    host.tell({ type: 'adopted', ticket, connections: host.servers.roughly() });
  };
}

type Refusal = Pick<Extract<FromWorker, { type: 'refused' }>, 'reason' | 'isFinal'>;

/** Another one, or this one, may take it a moment later. */
function notNow(reason: string): Refusal {
  return { reason, isFinal: false };
}

function never(reason: string): Refusal {
  return { reason, isFinal: true };
}

/** What is to be adopted, and by whom. */
interface Plan {
  readonly server: Server;
  readonly carrier: Carrier;
  readonly berth: Berth;
  readonly baggage: Baggage;
  readonly state: unknown;
}

/** @returns why not; then its handle is closed here, and nothing was read */
function adopt(host: AdopterHost, message: Adopt, handle: ConnectionHandle): Refusal | undefined {
  const plan = prepare(host, message);
  if ('server' in plan) return receiveAs(plan, host, handle);
  handle.close();
  return plan;
}

/** All that can fail comes before the ticket: what has none can be refused by whoever likes to. */
function prepare(host: AdopterHost, { ticket, listener, baggage: text }: Adopt): Plan | Refusal {
  let berth: Berth | undefined;
  try {
    if (host.isDraining()) return notNow('it is draining itself');
    const server = host.servers.listeningOn(listener);
    if (server === undefined) return never('no server of it listens there');
    const baggage = JSON.parse(text) as Baggage;
    const pile = pileFor(host, server, baggage);
    if (pile === undefined) return never(`its server takes no ${baggage.kind} connections over`);
    const state = importState(baggage);
    berth = pile.transport.unpack(baggage.transport);
    if (berth === undefined) return notNow('it came when what travels along was sealed already');
    if (host.takeTicket(ticket)) return { server, carrier: pile.carrier, berth, baggage, state };
    berth.giveUp();
    return notNow('it was given to somebody else meanwhile');
  } catch (error) {
    berth?.giveUp();
    return never(`it can't take it: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function receiveAs({ server, carrier, berth, baggage, state }: Plan, { servers, registry }: AdopterHost, handle: ConnectionHandle): Refusal | undefined {
  let arrival: Arrival | undefined;
  try {
    arrival = berth.receive(server, handle);
    if (arrival === undefined) return never('its server takes no more connections');
    registry.adopted.add(arrival.socket);
    servers.track(server, arrival.socket);
    carrier.adopt({ server, arrival, baggage, state, options: stateOptions(registry, server) });
    mark(registry.adopted, arrival.socket, carrier);
    arrival.settle();
    return undefined;
  } catch (error) {
    if (arrival === undefined) handle.close();
    else registry.handedOff.add(arrival.socket); // it lives on elsewhere
    arrival?.withdraw();
    return never(`it failed to adopt: ${error instanceof Error ? error.stack : String(error)}`);
  }
}
