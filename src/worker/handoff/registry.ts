/** What the program has said about moving. */
import type { Server, Socket } from 'node:net';
import type { Carrier, StateOptions, UpgradedCarrier } from './carrier.ts';

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

/** The program is to know this of a connection, by whatever it knows that. */
export function mark(set: WeakSet<object>, socket: Socket, carrier: Carrier): void {
  set.add(socket);
  const owner = carrier.ownerOf?.(socket);
  if (owner) set.add(owner);
}

/** Its program knows that connections move. */
export function hasOptedIn({ options }: Registry, server: Server): boolean {
  return Boolean(options.get(server));
}

/** What the program said about the state of a server's connections. */
export function stateOptions({ options }: Registry, server: Server): StateOptions {
  return options.get(server) || {};
}
