/**
 * How `server.listen()` and `socket.bind()` of an unmodified program get the master's sockets. Until the worker is admitted its servers believe that they listen,
 * but accept nothing, nor do its datagram sockets receive, so a new generation meets no client before all of it is ready.
 * What the program closes is told by its handle: until the master has let go of it, its server is not closed yet.
 */
import type { Socket } from 'node:dgram';
import type { Server } from 'node:net';
import { answerBinds, type Binding, type BindQuery } from '../node/bind.ts';
import { holdServers } from '../node/children.ts';
import type { DatagramHandle } from '../node/datagram.ts';
import { isOpen, type ListenHandle, whenClosed } from '../node/handle.ts';
import { answerListens, type Listening, type ServerQuery } from '../node/listen.ts';
import type { GroupMembership, ListenQuery } from '../protocol/worker.ts';
import { type Claimant, claimantOf, datagramClaimantOf, pathOf, type Reply } from './claimant.ts';
import type { Datagrams } from './datagrams.ts';
import type { Servers } from './servers.ts';
import { isPrivatePath, isTooLong } from './unix-path.ts';

const LAST_PORT = 65_535;

/** What capture needs of its worker. */
export interface CaptureHost {
  readonly servers: Pick<Servers, 'named'>;
  readonly datagrams: Datagrams;
  ask(id: number, query: ListenQuery): void;
  /** The program has closed what it got for that listen. */
  tellClosed(id: number): void;
  /** The socket of that bind is to be in a multicast group, or need not be. */
  tellMembership(id: number, membership: GroupMembership, isMember: boolean): void;
  /** Nothing is accepted before the admission. */
  holdsBack(): boolean;
  /** Whether the program has been ready: a port that is any free one, opened later, is known to whom it was told to, and nobody else is to have it. */
  hasStarted(): boolean;
  /** What is closed from now on is closed by us, or nobody's concern. */
  isDraining(): boolean;
  /** `isWaiting` may be another by now. */
  onChange(): void;
}

interface Asked {
  readonly claimant: Claimant;
  readonly query: ListenQuery;
  /** It was promised: the claimant believes that it has it. */
  readonly isPromised: boolean;
  leave(): void;
}

interface Held {
  readonly claimant: Claimant;
  readonly handle: ListenHandle | DatagramHandle;
  readonly reply: Reply;
  readonly begin: () => number;
}

/** The worker's side of custody. */
export class Capture {
  readonly #host: CaptureHost;
  readonly #pending = new Map<number, Asked>();
  readonly #promised = new Set<Asked>();
  /** Claimants whose `close` waits until the address is free. */
  readonly #closing = new Map<number, () => void>();
  readonly #held: Held[] = [];
  readonly #places = placeKeeper();
  readonly #onAnswered: (() => void)[] = [];
  readonly #releaseChildren: () => void;
  #isAdmitted = false;
  #lastId = 0;

  /** Installs the hooks. */
  constructor(host: CaptureHost) {
    this.#host = host;
    this.#releaseChildren = holdServers((it) => this.#isHeld(it));
    answerListens((server, query, listening) => this.#onListen(server, query, listening));
    answerBinds((socket, query, binding) => this.#onBind(socket, query, binding));
  }

  /** True while an answer to a listen is awaited. */
  get isAsking(): boolean {
    return this.#pending.size > 0;
  }

  /** True while the master owes an answer or the admission, or an address was only promised: nothing else may keep the process alive until then. */
  get isWaiting(): boolean {
    return this.#pending.size > 0 || this.#promised.size > 0 || this.#held.length > 0 || this.#closing.size > 0;
  }

  /** The master lets its servers accept. */
  get isAdmitted(): boolean {
    return this.#isAdmitted;
  }

  /** The master's answer. */
  onReply(reply: Reply, handle: ListenHandle | DatagramHandle | undefined): void {
    const asked = this.#pending.get(reply.id);
    this.#pending.delete(reply.id);
    if (asked === undefined) handle?.close();
    else if (handle !== undefined && reply.errno >= 0) this.#grant(asked, reply, handle);
    else if (reply.isPromised && asked.claimant.promise) this.#promise(asked, asked.claimant.promise(reply), reply);
    else fail(asked, reply);
    this.#releaseChildren();
    this.#host.onChange();
    if (this.#pending.size > 0) return;
    for (const then of this.#onAnswered.splice(0)) setImmediate(then); // an error is told before
  }

  /** The master has let go of what was closed. */
  onLetGo(id: number): void {
    const tell = this.#closing.get(id);
    this.#closing.delete(id);
    this.#host.onChange();
    tell?.();
  }

  /** The master is gone: nobody will let go of anything. */
  abandon(): void {
    for (const id of this.#closing.keys()) this.onLetGo(id);
  }

  /** Asks for what was only promised so far; then calls back, whatever came of it. */
  confirm(then: () => void): void {
    for (const asked of this.#promised) this.#ask({ ...asked, query: { ...asked.query, isFinal: true } });
    this.#promised.clear();
    if (this.#pending.size === 0) then();
    else this.#onAnswered.push(then);
  }

  /** Lets all of them begin, now and later. @returns the errno of the first that could not; 0 if all could */
  admit(): number {
    this.#isAdmitted = true;
    const errnos = this.#held.splice(0).map(({ claimant, handle, reply, begin }) => {
      const errno = isOpen(handle) ? begin() : 0;
      if (errno < 0) claimant.fail(errno, reply, true);
      return errno;
    });
    this.#releaseChildren();
    this.#host.onChange();
    return errnos.find((errno) => errno !== 0) ?? 0;
  }

  /** A child that it is sent to has to wait. */
  #isHeld(it: unknown): boolean {
    const believes = [...this.#pending.values(), ...this.#promised].some(({ claimant }) => claimant.it === it);
    return believes || this.#held.some(({ claimant, handle }) => isOpen(handle) && (claimant.it === it || handle === it));
  }

  #onListen(server: Server, query: ServerQuery, listening: Listening): void {
    const path = pathOf(query);
    if ((path !== null && (isTooLong(path) || isPrivatePath(path))) || (query.port === 0 && this.#host.hasStarted())) return listening.goAlone();
    this.#claim(claimantOf(server, query, listening, this.#host.servers));
  }

  /** Any free port is where answers to this very process go; one that is none is Node's to judge. */
  #onBind(socket: Socket, query: BindQuery, binding: Binding): void {
    if (!Number.isInteger(query.port) || query.port < 1 || query.port > LAST_PORT) return binding.goAlone();
    const { datagrams, tellMembership } = this.#host;
    const tell = (membership: GroupMembership, isMember: boolean) => tellMembership(id, membership, isMember);
    const id = this.#claim(datagramClaimantOf(socket, query, binding, { datagrams, tellMembership: tell }));
  }

  #claim(claimant: Claimant): number {
    const { claim, sharedBy } = claimant;
    const { index, leave } = sharedBy === null ? { index: 0, leave() {} } : this.#places.take(sharedBy);
    return this.#ask({ claimant, query: { ...claim, index, isFinal: this.#host.hasStarted() }, isPromised: false, leave });
  }

  #ask(asked: Asked): number {
    const id = ++this.#lastId;
    this.#pending.set(id, asked);
    this.#host.onChange();
    this.#host.ask(id, asked.query);
    return id;
  }

  #grant(asked: Asked, reply: Reply, handle: ListenHandle | DatagramHandle): void {
    const { claimant, isPromised } = asked;
    const mayBegin = (this.#isAdmitted || reply.isAdmitted) && !this.#host.holdsBack();
    const begin = claimant.prepare(handle, reply, mayBegin);
    if (!mayBegin) this.#held.push({ claimant, handle, reply, begin });
    whenClosed(handle, () => this.#onClosed(reply.id, asked));
    claimant.give(handle, reply, isPromised);
  }

  #promise(asked: Asked, handle: ListenHandle, reply: Reply): void {
    const again = { ...asked, isPromised: true };
    this.#promised.add(again);
    whenClosed(handle, () => {
      this.#promised.delete(again);
      this.#host.onChange();
    });
    asked.claimant.give(handle, reply, false);
  }

  #onClosed(id: number, { claimant, leave }: Asked): void {
    leave();
    if (this.#host.isDraining() || !process.connected) return;
    this.#closing.set(id, claimant.delayClose());
    this.#host.onChange();
    this.#host.tellClosed(id);
  }
}

function fail({ claimant, isPromised, leave }: Asked, reply: Reply): void {
  leave();
  claimant.fail(reply.errno, reply, isPromised);
}

/** Gives each of several that share an address, such as listens on port 0, the lowest number that no open one has: the first is 0 in every generation. */
function placeKeeper(): { take(key: string): { readonly index: number; leave(): void } } {
  const taken = new Map<string, Set<number>>();
  return {
    take(key) {
      const places = taken.get(key) ?? new Set<number>();
      taken.set(key, places);
      let index = 0;
      while (places.has(index)) index++;
      places.add(index);
      return { index, leave: () => void places.delete(index) };
    },
  };
}
