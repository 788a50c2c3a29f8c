/**
 * How `server.listen()` of an unmodified program gets the master's listener. Until the worker is admitted its servers
 * believe that they listen, but accept nothing, so a new generation meets no client before all of it is ready.
 * What the program closes is told by its handle: until the master has let go of it, its server is not closed yet.
 */
import type { Server } from 'node:net';
import { resolve } from 'node:path';
import { holdServers } from '../node/children.ts';
import { delayClose, failListen, holdBack, isOpen, keepPromise, type ListenHandle, promise, whenClosed } from '../node/handle.ts';
import { answerListens, exportServerData, importServerData, type Listening, type ServerQuery } from '../node/listen.ts';
import type { ListenQuery, ToWorker } from '../protocol/worker.ts';
import type { Servers } from './servers.ts';
import { isPrivatePath, isTooLong, umask } from './unix-path.ts';

type Reply = Extract<ToWorker, { type: 'listener' }>;

/** What capture needs of its worker. */
export interface CaptureHost {
  readonly servers: Pick<Servers, 'named'>;
  ask(id: number, query: ListenQuery): void;
  /** The program has closed what it got for that listen. */
  tellClosed(id: number): void;
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
  readonly server: Server;
  /** As the program has it: a path may be relative. */
  readonly address: string | null;
  readonly query: ListenQuery;
  readonly listening: Listening;
  /** It was promised: the server believes that it listens. */
  readonly isPromised: boolean;
  leave(): void;
}

interface Held {
  readonly server: Server;
  readonly handle: ListenHandle;
  readonly listen: () => number;
  readonly reply: Reply;
  readonly port: number;
}

/** The worker's side of listener custody. */
export class Capture {
  readonly #host: CaptureHost;
  readonly #pending = new Map<number, Asked>();
  readonly #promised = new Set<Asked>();
  /** Servers whose `close` waits until the address is free. */
  readonly #closing = new Map<number, () => void>();
  readonly #held: Held[] = [];
  readonly #places = placeKeeper();
  readonly #onAnswered: (() => void)[] = [];
  readonly #releaseChildren: () => void;
  #isAdmitted = false;
  #lastId = 0;

  /** Installs the hook. */
  constructor(host: CaptureHost) {
    this.#host = host;
    this.#releaseChildren = holdServers((it) => this.#isHeld(it));
    answerListens((server, query, listening) => this.#onListen(server, query, listening));
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
  onReply(reply: Reply, handle: ListenHandle | undefined): void {
    const asked = this.#pending.get(reply.id);
    this.#pending.delete(reply.id);
    if (asked === undefined) handle?.close();
    else if (handle !== undefined && reply.errno >= 0) this.#grant(reply.id, asked, reply, handle);
    else if (reply.isPromised) this.#promise(asked, reply);
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

  /** Lets all servers accept, now and later. @returns the errno of the first that could not; 0 if all could */
  admit(): number {
    this.#isAdmitted = true;
    const errnos = this.#held.splice(0).map(({ server, handle, listen, reply, port }) => {
      const errno = isOpen(handle) ? listen() : 0;
      if (errno < 0) failListen(server, errno, { ...reply, port });
      return errno;
    });
    this.#releaseChildren();
    this.#host.onChange();
    return errnos.find((errno) => errno !== 0) ?? 0;
  }

  /** A child that it is sent to has to wait. */
  #isHeld(it: unknown): boolean {
    const believes = [...this.#pending.values(), ...this.#promised].some(({ server }) => server === it);
    return believes || this.#held.some(({ server, handle }) => isOpen(handle) && (server === it || handle === it));
  }

  #onListen(server: Server, query: ServerQuery, listening: Listening): void {
    const { address, port, addressType } = query;
    const isFinal = this.#host.hasStarted();
    const path = pathOf(query);
    if ((path !== null && (isTooLong(path) || isPrivatePath(path))) || (port === 0 && isFinal)) return listening.goAlone();
    const { index, leave } = port === 0 ? this.#places.take(`${address}:${addressType}`) : { index: 0, leave() {} };
    this.#ask({ server, address, query: toQuery(server, query, { path, index, isFinal }), listening, isPromised: false, leave });
  }

  #ask(asked: Asked): void {
    const id = ++this.#lastId;
    this.#pending.set(id, asked);
    this.#host.onChange();
    this.#host.ask(id, asked.query);
  }

  #grant(id: number, asked: Asked, reply: Reply, handle: ListenHandle): void {
    const { server, query, listening, isPromised } = asked;
    this.#host.servers.named(server, reply.listener);
    importServerData(server, reply.serverData);
    const mayAccept = (this.#isAdmitted || reply.isAdmitted) && !this.#host.holdsBack();
    const listen = holdBack(handle, reply.backlog, mayAccept);
    if (!mayAccept) this.#held.push({ server, handle, listen, reply, port: query.port });
    whenClosed(handle, () => this.#onClosed(id, asked));
    const errno = isPromised ? keepPromise(server, handle, reply.backlog) : listening.give(handle);
    if (errno) failListen(server, errno, { ...reply, port: query.port });
  }

  #promise(asked: Asked, { address, addressType }: Reply): void {
    const handle = promise(address ?? '', asked.query.port, addressType);
    const again = { ...asked, isPromised: true };
    this.#promised.add(again);
    whenClosed(handle, () => {
      this.#promised.delete(again);
      this.#host.onChange();
    });
    asked.listening.give(handle);
  }

  #onClosed(id: number, { server, leave }: Asked): void {
    leave();
    if (this.#host.isDraining() || !process.connected) return;
    this.#closing.set(id, delayClose(server));
    this.#host.onChange();
    this.#host.tellClosed(id);
  }
}

function fail({ server, address, query, listening, isPromised, leave }: Asked, reply: Reply): void {
  const where = { ...reply, address: address ?? reply.address, port: query.port };
  leave();
  if (isPromised) failListen(server, reply.errno, where);
  else listening.fail(reply.errno, where);
}

/** Absolute; null: it is none, or one that has no file. */
function pathOf({ address, port }: ServerQuery): string | null {
  return port === -1 && address !== null && !address.startsWith('\0') ? resolve(address) : null;
}

function toQuery(server: Server, query: ServerQuery, { path, index, isFinal }: { path: string | null; index: number; isFinal: boolean }): ListenQuery {
  return {
    ...query,
    address: path ?? query.address,
    backlog: Math.trunc(query.backlog),
    index,
    umask: path === null ? null : umask(),
    isFinal,
    serverData: exportServerData(server) ?? null,
  };
}

/** Gives each of several listens on port 0 the lowest number that no open server has: the first is 0 in every generation. */
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
