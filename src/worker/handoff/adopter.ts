/** Takes in connections from workers that drain. Nothing is read from one before its ticket is taken. */
import { type ConnectionHandle, hasHandle, receive, takeFrom } from '../../node/connection.ts';
import type { FromWorker, ToWorker } from '../../protocol/worker.ts';
import type { Servers } from '../servers.ts';
import type { Baggage } from './carrier.ts';
import { type Registry, stateOptions, takerOf } from './registry.ts';

type Adopt = Extract<ToWorker, { type: 'adopt' }>;

/** What adopting needs. */
export interface AdopterHost {
  readonly servers: Servers;
  readonly registry: Registry;
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

/** @returns why not; then its handle is closed here, and nothing was read */
function adopt(
  { servers, registry, takeTicket, isDraining }: AdopterHost,
  { ticket, listener, baggage }: Adopt,
  handle: ConnectionHandle,
): Refusal | undefined {
  const refuse = (refusal: Refusal) => {
    handle.close();
    return refusal;
  };
  if (!takeTicket(ticket)) return refuse(notNow('it was given to somebody else meanwhile'));
  if (isDraining()) return refuse(notNow('it is draining itself'));
  const server = servers.listeningOn(listener);
  if (server === undefined) return refuse(never('no server of it listens there'));
  const passed = JSON.parse(baggage) as Baggage;
  const carrier = takerOf(registry, server, passed);
  if (carrier === undefined) return refuse(never(`its server takes no ${passed.kind} connections over`));
  const arrival = receive(server, handle);
  if (arrival === undefined) return never('its server takes no more connections');
  const { socket } = arrival;
  try {
    registry.adopted.add(socket);
    servers.track(server, socket);
    carrier.adopt({ server, arrival, baggage: passed, options: stateOptions(registry, server) });
    return undefined;
  } catch (error) {
    registry.handedOff.add(socket); // it lives on elsewhere
    if (hasHandle(socket)) takeFrom(socket).close();
    return never(`it failed to adopt: ${error instanceof Error ? error.stack : String(error)}`);
  }
}
