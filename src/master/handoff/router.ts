/**
 * An established connection from a draining worker to one of those that serve. The master reads nothing of it: it keeps a
 * copy of the descriptor until somebody owns the connection, so that no single death loses it.
 *
 *   offer ─→ to the successor with the fewest connections ─adopted→ told `moved`
 *                     └─ refused, lost on the way, dead, silent past the deadline → the next one ─ none left → told `stay`
 */
import { isDeepStrictEqual } from 'node:util';
import type { Cancel, Clock } from '../../kernel.ts';
import { closeSent } from '../../node/channel.ts';
import type { ConnectionHandle } from '../../node/connection.ts';
import type { ConnectionCounts, FromWorker, Successors, ToWorker } from '../../protocol/worker.ts';
import { nextTicket, type Tickets } from '../../tickets.ts';

type Said<T> = Extract<FromWorker, { type: T }>;

const nobody: Successors = { listeners: [], areAwaited: false };

/** A worker that answers nothing for so long gets no more connections until it does; milliseconds. */
const SILENCE_MS = 1_000;

/** What routing needs of its master. */
export interface RouterHost {
  readonly clock: Clock;
  /** `onLost`: the handle did not reach the worker, nor did the message. */
  send(worker: number, message: ToWorker, handle?: ConnectionHandle, onLost?: () => void): void;
  /** Those that serve in place of this worker, none while they are being replaced; null: nobody does, nor will. */
  successorsOf(worker: number): readonly number[] | null;
}

interface Lane {
  /** undefined: the worker can't be given connections. */
  tickets: Tickets | undefined;
  /** What may be sealed to this worker is sealed with it. */
  key: string | undefined;
  /** Listeners that the worker has asked for. */
  readonly listeners: Set<number>;
  readonly moved: Record<string, number>;
  connections: number;
  isSilent: boolean;
  /** Listeners of those who served in its place last. */
  served: readonly number[] | undefined;
  told: Successors;
  /** It has ended; called when what it had sent is somebody's. */
  onLanded: ((moved: ConnectionCounts) => void) | undefined;
}

interface Move extends Said<'offer'> {
  readonly from: number;
  readonly handle: ConnectionHandle;
  readonly tried: Set<number>;
  /** Why the last one did not take it. */
  reason: string;
  isFinal: boolean;
  to: number;
  deadline: number;
  /** By a silent worker: it is that worker's, whenever it says so. */
  isTaken: boolean;
}

/** All connections that are on their way. */
export class Router {
  readonly #host: RouterHost;
  readonly #lanes = new Map<number, Lane>();
  readonly #moves = new Map<number, Move>();
  #lastTicket = 0;
  #timer: Cancel | undefined;

  constructor(host: RouterHost) {
    this.#host = host;
  }

  /** A worker starts; its tickets are closed with it. */
  add(worker: number, tickets: Tickets | undefined): void {
    const lane = { tickets, key: undefined, listeners: new Set<number>(), moved: {}, connections: 0, isSilent: false };
    this.#lanes.set(worker, { ...lane, served: undefined, told: nobody, onLanded: undefined });
  }

  /** A worker has got a listener. */
  granted(worker: number, listener: number): void {
    this.#lanes.get(worker)?.listeners.add(listener);
  }

  /** It has closed all others. */
  limit(worker: number, listeners: readonly number[]): void {
    const lane = this.#lanes.get(worker);
    for (const listener of lane?.listeners ?? []) if (!listeners.includes(listener)) lane?.listeners.delete(listener);
  }

  /** What it is to be sent sealed can be from now on. */
  onKey(worker: number, { key }: Said<'key'>, onChange: () => void = () => {}): void {
    const lane = this.#lanes.get(worker);
    if (lane) lane.key = key;
    onChange(); // those that drain are told
  }

  /** So many connections of a worker live on in others, by kind. */
  movedOf(worker: number): ConnectionCounts {
    return { ...this.#lanes.get(worker)?.moved };
  }

  /** Whatever a worker says: it is alive. */
  heard(worker: number): void {
    const lane = this.#lanes.get(worker);
    if (lane) lane.isSilent = false;
  }

  /** What a worker that drains is told of those who go on with its connections. */
  successors(worker: number): Successors {
    const lane = this.#lanes.get(worker);
    const others = this.#host.successorsOf(worker);
    if (lane === undefined) return nobody;
    if (others !== null && others.length > 0) lane.served = [...new Set(others.flatMap((other) => this.#listenersOf(other)))].sort((a, b) => a - b);
    // who replaces them will listen where they did; if there never was anybody, it is this worker that is replaced
    const keys = (others ?? []).flatMap((other) => this.#lanes.get(other)?.key ?? []);
    const told = { listeners: lane.served ?? [...lane.listeners], areAwaited: others?.length === 0, ...(keys.length > 0 && { keys }) };
    lane.told = others === null ? nobody : told;
    return lane.told;
  }

  /** Tells draining workers what has changed for them. */
  refresh(draining: readonly number[]): void {
    for (const worker of draining) {
      const before = this.#lanes.get(worker)?.told;
      const successors = this.successors(worker);
      if (!isDeepStrictEqual(before, successors)) this.#host.send(worker, { type: 'successors', ...successors });
    }
  }

  onOffer(from: number, offer: Said<'offer'>, handle: ConnectionHandle | undefined): void {
    if (handle === undefined) return this.#host.send(from, { type: 'stay', id: offer.id, reason: 'its descriptor did not arrive', isFinal: false });
    this.#next({ ...offer, from, handle, tried: new Set(), reason: 'nobody serves there at the moment', isFinal: false, to: 0, deadline: 0, isTaken: false });
  }

  onAdopted(by: number, { ticket, connections }: Said<'adopted'>): void {
    const lane = this.#lanes.get(by);
    if (lane) lane.connections = connections;
    const move = this.#take(ticket, by);
    if (move === undefined) return;
    closeSent(move.handle);
    const { from, id, kind } = move;
    const sender = this.#lanes.get(from);
    if (sender) count(sender, kind);
    this.#host.send(from, { type: 'moved', id });
    this.#land(from);
  }

  onRefused(by: number, { ticket, reason, isFinal }: Said<'refused'>): void {
    const move = this.#take(ticket, by);
    if (move === undefined) return;
    this.#next({ ...move, reason: `worker ${by}: ${reason}`, isFinal });
  }

  /** They were lost on the way, as a worker knows by the later ones that it has got. */
  onGivenBack(by: number, { tickets }: Said<'given-back'>): void {
    for (const ticket of tickets) this.#onLost(ticket, by);
  }

  /**
   * A worker has ended: what was on its way to it goes elsewhere. `onLanded` is told what has moved of it, as soon as that is
   * known of what it had sent: within moments, or when a silent worker is passed over.
   */
  remove(worker: number, onLanded: (moved: ConnectionCounts) => void): void {
    const lane = this.#lanes.get(worker);
    if (lane === undefined) return onLanded({});
    lane.tickets?.close();
    lane.tickets = undefined;
    lane.onLanded = onLanded;
    for (const [ticket, move] of this.#movesTo(worker)) {
      this.#moves.delete(ticket);
      this.#next({ ...move, reason: `worker ${worker} has ended`, isFinal: false });
    }
    this.#land(worker);
  }

  /** Forgets a worker that has ended, if nothing of it is on its way any more. */
  #land(worker: number): void {
    const lane = this.#lanes.get(worker);
    const moves = [...this.#moves.values()].filter(({ from }) => from === worker);
    if (lane?.onLanded === undefined || moves.some(({ isTaken }) => !isTaken)) return;
    this.#lanes.delete(worker);
    for (const { kind } of moves) count(lane, kind);
    lane.onLanded({ ...lane.moved });
  }

  /** Where a worker can adopt. */
  #listenersOf(worker: number): number[] {
    const lane = this.#lanes.get(worker);
    return lane?.tickets ? [...lane.listeners] : [];
  }

  #take(ticket: number, by: number): Move | undefined {
    const move = this.#moves.get(ticket);
    if (move?.to !== by) return undefined;
    this.#moves.delete(ticket);
    return move;
  }

  /** Whoever knows it first says so; the ticket, which the worker may read out later or has read, is nobody's any more. */
  #onLost(ticket: number, by: number): void {
    const move = this.#take(ticket, by);
    if (move === undefined) return;
    this.#next({ ...move, reason: `its descriptor did not reach worker ${by}`, isFinal: false });
  }

  #next(move: Move): void {
    const { from, id, listener, baggage, handle, tried } = move;
    const to = this.#choose(move);
    if (to === undefined) {
      closeSent(handle);
      this.#host.send(from, { type: 'stay', id, reason: move.reason, isFinal: move.isFinal });
      return this.#land(from);
    }
    tried.add(to);
    const ticket = this.#issue(to);
    if (typeof ticket === 'string') return this.#next({ ...move, reason: `no ticket could be written (${ticket})`, isFinal: false });
    this.#moves.set(ticket, { ...move, to, deadline: this.#host.clock.now() + SILENCE_MS, isTaken: false });
    this.#host.send(to, { type: 'adopt', ticket, listener, baggage }, handle, () => this.#onLost(ticket, to));
    this.#timer ??= this.#host.clock.every(SILENCE_MS / 4, () => this.#look());
  }

  /** @returns the ticket, or why there is none */
  #issue(worker: number): number | string {
    const ticket = nextTicket(this.#lastTicket);
    try {
      this.#lanes.get(worker)?.tickets?.issue(ticket);
    } catch (error) {
      return error instanceof Error ? error.message : String(error); // ENOSPC and its like
    }
    this.#lastTicket = ticket;
    return ticket;
  }

  /** The one with the fewest connections, those on their way to it included. */
  #choose({ from, listener, tried }: Move): number | undefined {
    const waiting = new Map<number, number>();
    for (const { to } of this.#moves.values()) waiting.set(to, (waiting.get(to) ?? 0) + 1);
    let best: { readonly worker: number; readonly load: number } | undefined;
    for (const worker of this.#host.successorsOf(from) ?? []) {
      const lane = this.#lanes.get(worker);
      if (!lane?.tickets || !lane.listeners.has(listener) || lane.isSilent || tried.has(worker)) continue;
      const load = lane.connections + (waiting.get(worker) ?? 0);
      if (best === undefined || load < best.load) best = { worker, load };
    }
    return best?.worker;
  }

  #look(): void {
    const now = this.#host.clock.now();
    const silent = new Set([...this.#moves.values()].filter(({ deadline }) => deadline <= now).map(({ to }) => to));
    for (const worker of silent) this.#recall(worker);
    if (this.#moves.size > 0) return;
    this.#timer?.();
    this.#timer = undefined;
  }

  /** What a silent worker has not taken yet is given to somebody else; what it has taken is its own, whenever it says so. */
  #recall(worker: number): void {
    const lane = this.#lanes.get(worker);
    if (lane?.tickets === undefined) return;
    lane.isSilent = true;
    const recalled = lane.tickets.recall();
    for (const [ticket, move] of this.#movesTo(worker)) {
      move.deadline = Number.POSITIVE_INFINITY;
      move.isTaken = !recalled.has(ticket);
      if (move.isTaken) {
        this.#land(move.from);
        continue;
      }
      this.#moves.delete(ticket);
      this.#next({ ...move, reason: `worker ${worker} is silent`, isFinal: false });
    }
  }

  #movesTo(worker: number): [number, Move][] {
    return [...this.#moves].filter(([, { to }]) => to === worker);
  }
}

function count({ moved }: Lane, kind: string): void {
  moved[kind] = (moved[kind] ?? 0) + 1;
}
