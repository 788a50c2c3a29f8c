/**
 * What runs in a simulated process: a program that listens on two ports, and beneath it the runtime of a worker as far as a master can tell. It hands
 * connections over one at a time, takes others in by their ticket, and ends gracefully.
 */
import { getSystemErrorName } from 'node:util';
import type { DrainTimes, Successors, ToWorker, WorkerIdentity } from '../../../../src/protocol/worker.ts';
import { ticketTaker } from '../../../../src/tickets.ts';
import type { Connection, Copy } from './connection.ts';
import type { SimulatedProcess } from './process.ts';
import type { World } from './world.ts';

const BOOT_MS = 40;
const SWEEP_MS = 100;
const RETRY_MS = 1_000;

/** A connection of this process. */
interface Served {
  readonly connection: Connection;
  readonly copy: Copy;
  /** A request is under way until then. */
  readonly busyUntil: number;
  notBefore: number;
  isUnwanted: boolean;
  idleSince: number;
}

export class Program {
  generation = 0;
  isAccepting = false;
  isDraining = false;
  readonly #world: World;
  readonly #process: SimulatedProcess;
  readonly #takeTicket: (ticket: number) => boolean;
  readonly #served: Map<Connection, Served> = new Map();
  readonly #flights: Map<number, Served> = new Map();
  #listeners: number[] = [];
  #unanswered = 0;
  #successors: Successors = { listeners: [], areAwaited: false };
  #times: DrainTimes | undefined;
  #lastOffer = 0;
  #hasSettled = false;
  #hasEnded = false;
  #mayMove = true;
  #terms = 0;
  readonly #account: { closed: number; cut: number } = { closed: 0, cut: 0 };

  constructor(world: World, process: SimulatedProcess, ticketsFd: number | undefined) {
    this.#world = world;
    this.#process = process;
    this.#takeTicket = ticketsFd === undefined ? () => false : ticketTaker(ticketsFd, (tickets) => process.tell({ type: 'given-back', tickets }));
  }

  begin({ generation, times }: WorkerIdentity): void {
    this.generation = generation;
    this.#times = times;
    if (this.#process.hangs) return;
    this.#process.after(BOOT_MS, () => {
      if (generation === this.#world.brokenGeneration) return this.#fail('out of order');
      for (const port of this.#world.portsOf(generation)) this.#listen(port);
    });
  }

  /** A client has connected. */
  accept(connection: Connection, busyMs: number): void {
    this.#serve(connection, this.#process.hold(connection.copy(`${this.#process.pid}`)), this.#world.now() + busyMs);
  }

  onMessage(message: ToWorker, copy: Copy | undefined): void {
    switch (message.type) {
      case 'listener':
        return this.#onListener(message);
      case 'admit':
        this.isAccepting = !this.isDraining;
        return this.#process.tell({ type: 'admitted' });
      case 'drain':
        this.#successors = message.successors;
        return this.#drain(message.times);
      case 'successors':
        this.#successors = message;
        return;
      case 'adopt':
        return this.#adopt(message, copy);
      case 'moved':
        return this.#onMoved(message.id);
      case 'stay':
        return this.#onStay(message.id, message.isFinal);
      case 'hurry':
        return this.#cut();
      case 'examine':
        return this.#process.tell({ type: 'vitals', id: message.id, connections: this.#served.size, rssBytes: 1 });
      default:
    }
  }

  onSigterm(): void {
    if (++this.#terms > 1) this.#cut();
    else this.#drain(this.#times);
  }

  /** Whether what is in flight was adopted can't be known any more. */
  onDisconnect(): void {
    this.#mayMove = false;
    for (const { copy } of this.#flights.values()) copy.close();
    this.#flights.clear();
    this.#drain(this.#times);
  }

  #listen(port: number): void {
    this.#unanswered++;
    const query = {
      isDatagram: false,
      address: '127.0.0.1',
      port,
      addressType: 4,
      flags: 0,
      backlog: 0,
      index: 0,
      umask: null,
      isFinal: false,
      serverData: null,
    };
    this.#process.tell({ type: 'listen', id: port, ...query, readableAll: false, writableAll: false });
  }

  #onListener({ errno, listener, isAdmitted }: Extract<ToWorker, { type: 'listener' }>): void {
    if (errno < 0) return this.#fail(`listen ${getSystemErrorName(errno)}`);
    this.#listeners.push(listener);
    if (isAdmitted) this.isAccepting = true;
    this.#process.tell({ type: 'listening', isListening: true });
    if (--this.#unanswered === 0) this.#process.tell({ type: 'ready' });
  }

  #fail(message: string): void {
    this.#process.tell({ type: 'failed', error: { name: 'Error', message } });
    this.#process.die(1, null);
  }

  #serve(connection: Connection, copy: Copy, busyUntil = 0): Served {
    const served = { connection, copy, busyUntil, notBefore: 0, isUnwanted: false, idleSince: Number.NaN };
    connection.own(this.#process);
    this.#served.set(connection, served);
    return served;
  }

  #adopt({ ticket, listener }: Extract<ToWorker, { type: 'adopt' }>, copy: Copy | undefined): void {
    const refuse = (reason: string, isFinal: boolean) => {
      copy?.close();
      this.#process.tell({ type: 'refused', ticket, reason, isFinal });
    };
    if (copy === undefined) return refuse('its descriptor did not arrive', false);
    if (!this.#takeTicket(ticket)) return refuse('it was given to somebody else meanwhile', false);
    if (this.isDraining) return refuse('it is draining itself', false);
    if (!this.#listeners.includes(listener)) return refuse('no server of it listens there', true);
    this.#serve(copy.connection, copy);
    this.#process.tell({ type: 'adopted', ticket, connections: this.#served.size });
  }

  #drain(times: DrainTimes | undefined): void {
    if (this.isDraining) return;
    this.isDraining = true;
    this.isAccepting = false;
    this.#process.tell({ type: 'withdrew' });
    this.#process.after(times?.drainTimeoutMs ?? 0, () => this.#cut());
    this.#sweep();
  }

  #sweep(): void {
    if (this.#hasEnded) return;
    const now = this.#world.now();
    for (const served of [...this.#served.values()]) {
      if (served.busyUntil > now) continue;
      if (this.#willMove(served)) this.#offer(served);
      else this.#closeIfIdle(served, now);
    }
    this.#look();
    this.#process.after(SWEEP_MS, () => this.#sweep());
  }

  #willMove({ isUnwanted }: Served): boolean {
    const [listener = 0] = this.#listeners;
    return this.#mayMove && !isUnwanted && this.#successors.listeners.includes(listener);
  }

  #canLeave(served: Served): boolean {
    const now = this.#world.now();
    return served.busyUntil <= now && served.notBefore <= now && !this.#successors.areAwaited && this.#willMove(served);
  }

  /** One at a time. */
  #offer(served: Served): void {
    if (this.#flights.size > 0 || !this.#canLeave(served)) return;
    const id = ++this.#lastOffer;
    this.#served.delete(served.connection);
    this.#flights.set(id, served);
    served.connection.leave();
    const offer = { type: 'offer', id, listener: this.#listeners[0] ?? 0, kind: 'http', baggage: '{}' } as const;
    this.#process.tell(offer, served.copy, () => this.#onStay(id, false));
  }

  #onMoved(id: number): void {
    this.#flights.get(id)?.copy.close();
    this.#flights.delete(id);
    this.#sweepOnce();
  }

  #onStay(id: number, isFinal: boolean): void {
    const flight = this.#flights.get(id);
    this.#flights.delete(id);
    if (flight === undefined) return;
    const served = this.#serve(flight.connection, flight.copy);
    served.isUnwanted = isFinal;
    served.notBefore = isFinal ? 0 : this.#world.now() + RETRY_MS;
    this.#sweepOnce();
  }

  #sweepOnce(): void {
    for (const served of [...this.#served.values()]) this.#offer(served);
    this.#look();
  }

  #closeIfIdle(served: Served, now: number): void {
    if (Number.isNaN(served.idleSince)) served.idleSince = now;
    if (now - served.idleSince < (this.#times?.idleGraceMs ?? 0)) return;
    this.#end(served, 'closed');
    this.#account.closed++;
  }

  #end(served: Served, fate: 'closed' | 'cut'): void {
    served.connection.end(fate);
    this.#served.delete(served.connection);
    served.copy.close();
  }

  #look(): void {
    if (!this.isDraining) return;
    const canLeave = [...this.#served.values()].some((served) => this.#canLeave(served));
    if (!this.#hasSettled && !canLeave && this.#flights.size === 0) {
      this.#hasSettled = true;
      this.#process.tell({ type: 'settled', open: this.#served.size });
    }
    if (this.#served.size === 0 && this.#flights.size === 0) this.#finish();
  }

  #cut(): void {
    if (!this.isDraining) this.#drain(this.#times);
    if (this.#hasEnded) return;
    for (const served of [...this.#served.values()]) {
      this.#end(served, 'cut');
      this.#account.cut++;
    }
    this.#mayMove = false;
    for (const { copy } of this.#flights.values()) copy.close();
    this.#flights.clear();
    this.#finish();
  }

  #finish(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    const { closed, cut } = this.#account;
    this.#process.tell({ type: 'drained', closed: closed > 0 ? { http: closed } : {}, cut: cut > 0 ? { http: cut } : {} });
    this.#process.die(0, null);
  }
}
