/** How connections of one kind travel, and the state of the program that travels with them. */
import type { Server, Socket } from 'node:net';
import type { Arrival } from '../../node/connection.ts';
import { readState, writeState } from './state.ts';

/** What travels along with a connection: JSON. */
export interface Baggage {
  readonly kind: string;
  /** What the program exported, as `state.ts` writes it. */
  readonly state?: unknown;
}

/** What a program gives to `handoff`. */
export interface StateOptions<Connection = Socket, State = unknown> {
  export?(connection: Connection): State | undefined;
  adopt?(connection: Connection, state: State): void;
}

/** A connection that may leave. */
export interface Departure {
  readonly server: Server;
  readonly socket: Socket;
  readonly options: StateOptions;
}

/** A connection that has come. */
export interface Welcome {
  readonly server: Server;
  readonly arrival: Arrival;
  readonly baggage: Baggage;
  /** What the program exported; undefined: nothing. */
  readonly state: unknown;
  readonly options: StateOptions;
}

/** Connections of one kind. */
export interface Carrier {
  /** Looks at a connection with nothing buffered either way; it is detached in the same tick. @returns undefined: not now @throws what `export` throws */
  pack(departure: Departure): Baggage | undefined;
  /** Makes the connection go on here. @throws what the program throws; then it is refused */
  adopt(welcome: Welcome): void;
}

/** A carrier of connections that were upgraded away from HTTP. */
export interface UpgradedCarrier extends Carrier {
  owns(socket: Socket): boolean;
  accepts(server: Server, baggage: Baggage): boolean;
}

/** Asks the program for the state of a connection. @returns undefined: not now @throws an error for the log if it can't cross */
export function exportState<Connection>(options: StateOptions<Connection>, connection: Connection): Pick<Baggage, 'state'> | undefined {
  if (options.export === undefined) return {};
  const state = options.export(connection);
  return state === undefined ? undefined : { state: writeState(state) };
}

/** What the program exported. @throws an error for the log if it can't be read here */
export function importState({ state }: Baggage): unknown {
  return state === undefined ? undefined : readState(state);
}
