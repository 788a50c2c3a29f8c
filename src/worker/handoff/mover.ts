/**
 * Hands connections of this draining worker to others, a few at a time. A connection that was offered is nobody's until the
 * master answers: its copy is kept, and if nobody adopts it, it goes on here.
 *
 *   quiet ─detach, offer→ in flight ─moved→ the copy is closed
 *                             └─────stay──→ received again, as a successor would
 */
import type { Server, Socket } from 'node:net';
import { closeSent } from '../../node/channel.ts';
import type { ConnectionHandle } from '../../node/connection.ts';
import { BAGGAGE_LIMIT, type ConnectionCounts, type FromWorker, type ToWorker } from '../../protocol/worker.ts';
import { addCounts, countKinds } from '../counts.ts';
import { connectionsOf, kindOf, type WatchedServer } from '../servers.ts';
import type { Baggage, Stay } from './carrier.ts';
import { type Departed, makeDeparted } from './departed.ts';
import { type Pile, pileOf, type Scope } from './pile.ts';
import { hasOptedIn, mark, stateOptions } from './registry.ts';
import { makeSuccession, type Succession } from './succession.ts';
import { type Return, takeBack } from './take-back.ts';

/** Most connections in flight at once. Each waits for those before it, at about half a millisecond each: see docs/handoff.md. */
const WINDOW = 4;
/** It begins with one, and takes one more for each so many that were adopted: at first the successors, in which none of this has run yet, are slow. */
const GROWTH = 8;
/** A flight of so long is with a successor that has stopped in the middle of it, and does not keep others from leaving. */
const OVERDUE_MS = 2_000;
/** Overdue ones included: it may be the master that has stopped. */
const MOST_FLIGHTS = 2 * WINDOW;
/** Time until a connection is offered again that nobody could take at the moment. */
const RETRY_MS = 1_000;

/** What is quiet, but not yet known to owe nothing, is waited for so long before the rest counts as busy. */
const FOLLOWERS_MS = 1_000;

const notNow: Stay = { isFinal: false };
/** What is between its protocol's words, but not below, is looked at again so soon. */
const AGAIN_MS = 20;

const MOST_COMPLAINTS = 20;
const MOST_REASONS = 5;
const LONGEST_REASON = 300;

/** A connection that was found quiet. */
export interface Candidate {
  readonly watched: WatchedServer;
  readonly socket: Socket;
}

/** Hands over what may go. */
export interface Mover {
  /** Connections that are on their way, by kind. */
  readonly inFlight: ConnectionCounts;
  /** More are waiting to be offered. */
  readonly isBusy: boolean;
  /** So many have arrived, or were given up, by kind. */
  readonly moved: ConnectionCounts;
  /** Who goes on with connections. */
  readonly succession: Succession;
  readonly departed: Departed;
  /** The connection will move when it is quiet, so it needs no `Connection: close`. */
  willMove(server: Server, socket: Socket): boolean;
  /** A connection that can't move may be closed for being idle; of a raw one its program knows, which is asked as for a move. */
  mayClose(candidate: Candidate): boolean;
  /** Its client waits for an answer. */
  look(server: Server, socket: Socket): void;
  /** These are quiet now; they replace what was given before. */
  consider(candidates: readonly Candidate[]): void;
  /** This one is quiet at this moment, and may not be at another: it goes before all others, if anything can. */
  seize(candidate: Candidate): void;
  onMoved(id: number): void;
  onStay(answer: Extract<ToWorker, { type: 'stay' }>): void;
  /** Offers nothing any more. */
  stop(): void;
  /** Gives up what is in flight: whoever adopts it has it, and nobody here. */
  abandon(): void;
}

/** What moving needs. */
export interface MoverHost extends Scope {
  /** `onLost`: the handle did not reach the master, nor did the message. */
  tell(message: FromWorker, handle?: ConnectionHandle, onLost?: () => void): void;
}

/** What had come of it by then, decrypted. */
interface Found extends Candidate {
  readonly bytesRead: number;
}

/** What crosses, and as it is sent. */
interface Packed {
  readonly baggage: Baggage;
  readonly text: string;
}

interface Flight extends Return {
  readonly kind: string;
  readonly offeredAt: number;
}

/** Prepares to hand over; nothing is offered before there are successors. */
export function prepareMover(host: MoverHost): Mover {
  return new ConnectionMover(host);
}

class ConnectionMover implements Mover {
  moved: ConnectionCounts = {};
  readonly succession: Succession = makeSuccession();
  readonly departed: Departed = makeDeparted();
  readonly #host: MoverHost;
  readonly #flights = new Map<number, Flight>();
  /** Connections that nobody wanted, or whose state can't cross: they end here. */
  readonly #unwanted = new WeakSet<Socket>();
  readonly #notBefore = new WeakMap<Socket, number>();
  /** Why it did not move, the last time. */
  readonly #reasons = new WeakMap<Socket, string>();
  readonly #exported = new WeakMap<Socket, { readonly packed: Baggage; readonly bytes: string }>();
  readonly #complaints = new Set<string>();
  #queue: Found[] = [];
  /** Those that are to be looked at again. */
  readonly #again: Found[] = [];
  #timer: NodeJS.Timeout | undefined;
  #lastId = 0;
  #hasStopped = false;
  #hasSettled = false;
  #landings = 0;
  #beganAt = 0;
  /** Some of those that were considered last said "not now". */
  #areHeldBack = false;

  constructor(host: MoverHost) {
    this.#host = host;
  }

  get inFlight(): ConnectionCounts {
    return countKinds([...this.#flights.values()].map(({ kind }) => kind));
  }

  get isBusy(): boolean {
    return this.#queue.length > 0;
  }

  willMove(server: Server, socket: Socket): boolean {
    const listener = this.#host.servers.listenerOf(server);
    return listener !== undefined && this.succession.has(listener) && !this.#unwanted.has(socket) && pileOf(this.#host, server, socket) !== undefined;
  }

  mayClose({ watched: { server }, socket }: Candidate): boolean {
    const carrier = pileOf(this.#host, server, socket)?.carrier;
    if (!carrier?.isProgramsOwn) return true;
    try {
      return carrier.pack({ server, socket, options: stateOptions(this.#host.registry, server) }) !== undefined;
    } catch {
      return true; // what can't be handed over, as was told where it was to move
    }
  }

  look(server: Server, socket: Socket): void {
    pileOf(this.#host, server, socket)?.transport.look?.(socket);
  }

  consider(candidates: readonly Candidate[]): void {
    this.#beganAt ||= performance.now();
    this.#areHeldBack = false;
    this.#queue = (this.succession.areAwaited ? [] : candidates).map(asFound);
    this.#pump();
    this.#settleWhenDone();
  }

  seize(candidate: Candidate): void {
    if (!this.#hasStopped && !this.succession.areAwaited && this.#hasRoom()) this.#offer(asFound(candidate));
  }

  onMoved(id: number): void {
    const flight = this.#land(id);
    if (flight === undefined) return;
    this.#landings++;
    flight.loan.handle.close();
    this.#arrived(flight);
    this.#next();
  }

  onStay({ id, reason, isFinal }: Extract<ToWorker, { type: 'stay' }>): void {
    const flight = this.#land(id);
    if (flight === undefined) return;
    if (isFinal) this.#complain(`a connection could not be handed over: ${reason}`);
    const socket = takeBack(this.#host, flight, (text) => this.#complain(text));
    if (socket !== flight.socket) this.#depart(flight); // it goes on here, but not there
    if (socket && isFinal) this.#unwanted.add(socket);
    else if (socket) this.#notBefore.set(socket, performance.now() + RETRY_MS);
    if (socket) this.#reasons.set(socket, reason.slice(0, LONGEST_REASON));
    this.#next();
  }

  stop(): void {
    this.#hasStopped = true;
    this.succession.set({ listeners: [], areAwaited: false });
    this.#queue = [];
    this.#again.length = 0;
  }

  abandon(): void {
    this.stop();
    for (const [id, flight] of this.#flights) {
      this.#land(id);
      closeSent(flight.loan.handle);
      this.#arrived(flight);
    }
    this.#host.servers.onEnd();
  }

  /** Its server no longer counts it. */
  #arrived(flight: Flight): void {
    this.moved = addCounts(this.moved, { [flight.kind]: 1 });
    flight.loan.end();
    this.#depart(flight);
  }

  #depart({ socket, pile }: Flight): void {
    if (socket.destroyed) return;
    pile.carrier.forget?.(socket);
    this.departed.add(socket);
  }

  #land(id: number): Flight | undefined {
    const flight = this.#flights.get(id);
    this.#flights.delete(id);
    return flight;
  }

  #next(): void {
    this.#pump();
    this.#settleWhenDone();
    this.#host.servers.onEnd();
  }

  #settleWhenDone(): void {
    const mayFollow = this.#areHeldBack && performance.now() - this.#beganAt < FOLLOWERS_MS;
    if (this.#hasSettled || this.#queue.length > 0 || this.#flights.size > 0 || mayFollow) return;
    this.#hasSettled = true;
    const stayed = this.#stayed();
    this.#host.tell({ type: 'settled', open: this.#host.servers.count(), ...(Object.keys(stayed).length > 0 && { stayed }) });
  }

  /** How many are left that were to move, by reason, the most frequent ones. */
  #stayed(): ConnectionCounts {
    const { servers } = this.#host;
    const open = servers.list().flatMap((watched) => connectionsOf(watched, servers));
    const counts = countKinds(open.flatMap((socket) => this.#reasons.get(socket) ?? []));
    const most = Object.entries(counts).sort(([, one], [, other]) => other - one);
    return Object.fromEntries(most.slice(0, MOST_REASONS));
  }

  #pump(): void {
    while (!this.#hasStopped && !this.succession.areAwaited && this.#hasRoom()) {
      const candidate = this.#queue.pop();
      if (candidate === undefined) return;
      // what has come since it was found quiet is answered first
      if (candidate.socket.bytesRead === candidate.bytesRead && !this.#host.registry.handedOff.has(candidate.socket)) this.#offer(candidate);
    }
  }

  #hasRoom(): boolean {
    if (this.#flights.size >= MOST_FLIGHTS) return false;
    const since = performance.now() - OVERDUE_MS;
    const underway = [...this.#flights.values()].filter(({ offeredAt }) => offeredAt > since).length;
    return underway < Math.min(WINDOW, 1 + Math.floor(this.#landings / GROWTH));
  }

  #offer(candidate: Found): void {
    const { watched, socket } = candidate;
    const { servers, registry, tell } = this.#host;
    const { server } = watched;
    const listener = servers.listenerOf(server);
    const pile = pileOf(this.#host, server, socket);
    if (listener === undefined || pile === undefined || (this.#notBefore.get(socket) ?? 0) > performance.now()) return;
    const packed = this.#pack(pile, server, socket);
    if ('isFinal' in packed) return this.#keep(candidate, packed);
    const { transport, carrier } = pile;
    const id = ++this.#lastId;
    const kind = kindOf(watched, socket);
    mark(registry.handedOff, socket, carrier);
    carrier.letGo?.({ server, socket, options: stateOptions(registry, server) });
    const loan = transport.lend(socket, !carrier.leavesSilently || hasOptedIn(registry, server));
    this.#flights.set(id, { server, socket, kind, pile, baggage: packed.baggage, loan, offeredAt: performance.now() });
    tell({ type: 'offer', id, listener, kind, baggage: packed.text }, loan.handle, () => {
      this.onStay({ type: 'stay', id, reason: 'its descriptor did not reach the master', isFinal: false });
    });
  }

  /** The layer below is asked first, for the program is not to export what can't move anyway; and again, since it may write or end while it exports. */
  #pack({ transport, carrier }: Pile, server: Server, socket: Socket): Packed | Stay {
    const stay = transport.check(server, socket);
    if (stay) return stay;
    try {
      const packed = this.#exportedBy(socket) ?? carrier.pack({ server, socket, options: stateOptions(this.#host.registry, server) });
      this.#areHeldBack ||= packed === undefined;
      const later = packed ? transport.check(server, socket) : notNow;
      if (packed && later) this.#exported.set(socket, { packed, bytes: bytesOf(socket) });
      if (packed === undefined || later) return later ?? notNow;
      const below = transport.pack(socket);
      const baggage = below ? { ...packed, transport: below } : packed;
      const text = JSON.stringify(baggage);
      if (text.length > BAGGAGE_LIMIT) throw new RangeError(`it takes ${text.length} characters with all that belongs to it, the limit is ${BAGGAGE_LIMIT}`);
      return { baggage, text };
    } catch (error) {
      this.#complain(`the state of a connection can't be handed over: ${error instanceof Error ? error.message : String(error)}`);
      return { reason: 'its state could not be handed over', isFinal: true };
    }
  }

  /** What the program exported at the last try, if nothing has come or gone since: it has written something then, which had to be sent first. */
  #exportedBy(socket: Socket): Baggage | undefined {
    const exported = this.#exported.get(socket);
    return exported?.bytes === bytesOf(socket) ? exported.packed : undefined;
  }

  #keep(candidate: Found, { reason, isFinal, isMomentary }: Stay): void {
    const { socket } = candidate;
    if (isFinal) this.#unwanted.add(socket);
    if (reason !== undefined) this.#reasons.set(socket, reason);
    if (!isMomentary) return;
    this.#areHeldBack = true;
    this.#again.push(candidate);
    this.#timer ??= setTimeout(() => this.#tryAgain(), AGAIN_MS).unref();
  }

  #tryAgain(): void {
    this.#timer = undefined;
    this.#queue.push(...this.#again.splice(0));
    this.#next();
  }

  /** Once each: a thousand connections may fail for the same reason. */
  #complain(text: string): void {
    if (this.#complaints.has(text) || this.#complaints.size >= MOST_COMPLAINTS) return;
    this.#complaints.add(text);
    this.#host.tell({ type: 'notice', text });
  }
}

function asFound({ watched, socket }: Candidate): Found {
  return { watched, socket, bytesRead: socket.bytesRead };
}

/** All that has come and gone, what is still being sent included. */
function bytesOf({ bytesRead, bytesWritten }: Socket): string {
  return `${bytesRead} ${bytesWritten}`;
}
