/** How connections of one kind travel, and the state of the program that travels with them. */
import type { Server, Socket } from 'node:net';
import type { Arrival } from '../../node/connection.ts';

/** What travels along with a connection: JSON. */
export interface Baggage {
  readonly kind: string;
  /** What the program exported, serialized by V8, in base64. */
  readonly state?: string;
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

/** Longest state of a connection, in bytes as V8 serializes it. */
export const STATE_LIMIT: number = 64 * 1024;

/** Asks the program for the state of a connection. @returns undefined: not now @throws an error for the log if it can't cross */
export function exportState<Connection>(options: StateOptions<Connection>, connection: Connection): Pick<Baggage, 'state'> | undefined {
  if (options.export === undefined) return {};
  const state = options.export(connection);
  if (state === undefined) return undefined;
  const bytes = process.getBuiltinModule('node:v8').serialize(state); // throws for what structuredClone refuses: functions, symbols, sockets
  if (bytes.length > STATE_LIMIT) throw new RangeError(`the exported state takes ${bytes.length} bytes, the limit is ${STATE_LIMIT}`);
  return { state: bytes.toString('base64') };
}

/** Gives the state back to the program. */
export function adoptState<Connection>(options: StateOptions<Connection>, connection: Connection, { state }: Baggage): void {
  options.adopt?.(connection, state === undefined ? undefined : process.getBuiltinModule('node:v8').deserialize(Buffer.from(state, 'base64')));
}
