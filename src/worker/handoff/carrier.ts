/**
 * A connection is a pile: a transport has its handle, and a protocol is spoken over that. A carrier knows how one of them travels: whether it is quiet,
 * what of it lives in user space, and how it goes on elsewhere. Who moves connections knows no kinds; `pile.ts` says what a connection is made of.
 *
 *   http · raw · websocket · http2    Carrier     pack → Baggage         adopt(welcome)
 *   ──────────────────────────────
 *           plain · tls               Transport   pack, lend → Loan      unpack → Berth, receive → Arrival
 */
import type { Server, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { ConnectionHandle, Loan } from '../../node/connection.ts';
import { readState, writeState } from './state.ts';

/** What travels along with a connection: JSON. */
export interface Baggage {
  readonly kind: string;
  /** What the program exported, as `state.ts` writes it. */
  readonly state?: unknown;
  /** Of the transport; absent: plain. */
  readonly transport?: TransportBaggage;
}

/** What a transport adds to the baggage. */
export interface TransportBaggage {
  readonly kind: string;
}

/** What a program gives to `handoff`. */
export interface StateOptions<Connection = Socket, State = unknown> {
  export?(connection: Connection): State | undefined;
  adopt?(connection: Connection, state: State): void;
}

/** A connection that may leave. */
export interface Departure {
  readonly server: Server;
  /** As the program has it: decrypted. */
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

/** What is spoken over a transport. */
export interface Carrier {
  /** The program did not ask for moves by having such connections, and takes a `close` for a client that has left: unless it opted in, it hears none. */
  readonly leavesSilently?: boolean;
  /** Only the program knows whether such a connection is idle: it is asked before one is closed for that, as for a move. */
  readonly isProgramsOwn?: boolean;
  /** What the program knows such a connection by, besides its socket. */
  ownerOf?(socket: Socket): object | undefined;
  /** Looks at a connection with nothing buffered either way; it is detached in the same tick. @returns undefined: not now @throws what `export` throws */
  pack(departure: Departure): Baggage | undefined;
  /** Lets go of the socket, whose handle is taken right after this. */
  letGo?(departure: Departure): void;
  /** The connection lives on elsewhere, and its socket stays open for a program that hears nothing of it. */
  forget?(socket: Socket): void;
  /** Makes the connection go on here. @throws what the program throws; then it is refused */
  adopt(welcome: Welcome): void;
}

/** A carrier of connections that were upgraded away from HTTP. */
export interface UpgradedCarrier extends Carrier {
  owns(socket: Socket): boolean;
  accepts(server: Server, baggage: Baggage): boolean;
}

/** Why a connection stays where it is. */
export interface Stay {
  /** For the account; absent: it is just busy. */
  readonly reason?: string;
  /** Nor will it move later. */
  readonly isFinal: boolean;
  /** A moment later it may. */
  readonly isMomentary?: boolean;
}

/** What has the handle of a connection. */
export interface Transport {
  /** As the baggage names it; undefined: it has none. */
  readonly kind?: string;
  /** The connection is one of its kind, as far as can be seen. */
  carries(socket: Socket): boolean;
  /** @returns why it can't be taken from its socket at this moment; undefined: nothing is buffered either way, and neither side has begun to close */
  check(server: Server, socket: Socket): Stay | undefined;
  /** Its client waits for an answer, so nothing more of it is on its way: for a later `check`. */
  look?(socket: Socket): void;
  /** What the successor needs besides the handle; undefined: nothing. In the tick of a `check` that found nothing. */
  pack(socket: Socket): TransportBaggage | undefined;
  /** Takes the connection away, without a trace on the wire, in the tick of `pack`. With `tellsClose` its socket closes, otherwise the program notices nothing. */
  lend(socket: Socket, tellsClose: boolean): Loan;
  /** Before the ticket is taken. @returns undefined: not for this worker, though another one may take it @throws an error for the log if it can't be read */
  unpack(baggage: TransportBaggage | undefined): Berth | undefined;
}

/** Where a connection is to go on. Exactly one of its functions is called, once. */
export interface Berth {
  /** Only for whoever owns the connection. @returns undefined if the server won't have it; then the handle is closed */
  receive(server: Server, handle: ConnectionHandle): Arrival | undefined;
  /** Somebody else has it. */
  giveUp(): void;
}

/** A connection that was received, and that nobody read from yet in this process. */
export interface Arrival {
  readonly socket: Socket;
  /** It costs more than a new one would: where the protocol has a moment at which a client takes its end for nothing, it is to end there in time. */
  readonly isDear?: boolean;
  /** Lets the program have it, as if it had just connected; or what stands for it. */
  announce(instead?: Duplex): void;
  /** It stays: what was written to it meanwhile goes out. */
  settle(): void;
  /** It goes on elsewhere, as if nobody had received it here: nothing that was written to it has gone out. */
  withdraw(): void;
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
