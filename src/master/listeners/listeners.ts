/**
 * Custody of the listening sockets, and of datagram sockets. The master binds each address once and keeps it in LISTEN, but never accepts, nor receives. Custody follows use: kept is what a living
 * worker has, what the configuration names, and what somebody is on the way to; nothing else. What was let go of is never given out again: whoever connected
 * to it is refused, as without a supervisor.
 */
import { constants } from 'node:os';
import type { ListenSpec } from '../../config/config.ts';
import { closeSent } from '../../node/channel.ts';
import type { DatagramHandle } from '../../node/datagram.ts';
import type { ListenHandle } from '../../node/handle.ts';
import type { OwnedFile } from '../../owned-file.ts';
import type { GroupMembership, ListenQuery } from '../../protocol/worker.ts';
import { type Address, addressesOf, type Bound, candidatesOf, conflicts, describe, isEqual, isNamedIn, isSame, servesFor } from './addresses.ts';
import { type Binder, bindFirst, cannotListen } from './binding.ts';
import type { DescriptorStore } from './descriptor-store.ts';
import { type Grant, refusal } from './grant.ts';
import type { InheritedSocket } from './inherited.ts';
import { type Asker, claim, disclaim, isFixedFor, type Listener, nameOf, newListener, type Target, targetOf } from './listener.ts';
import { keepPath, type PathState, type SocketPath } from './socket-path.ts';

const EADDRINUSE = -constants.errno.EADDRINUSE;
const SYSTEMD_BACKLOG = 4096; // of a .socket unit; what it really is can't be asked, and a listen(2) must not make it less
/** A program that looks for free ports has found the one it takes among the last of them. */
const LENT_LIMIT = 64;

/** Who uses listeners. */
export interface Use {
  /** What their configuration names is kept. */
  readonly generations: readonly number[];
  /** Workers that serve, or are on their way to: what they have is kept. */
  readonly workers: readonly number[];
  /** Somebody is on the way who may ask for what those had who are gone, or make way. */
  readonly isAwaited: boolean;
}

/** Hears that a path of ours leads elsewhere, or again to us. */
export type PathListener = (address: string, state: PathState, isRestored: boolean) => void;

/** All listeners of this master. */
export class Listeners {
  readonly #listeners: Listener[] = [];
  readonly #kernel: Binder;
  readonly #store: DescriptorStore;
  readonly #onPath: PathListener;
  /** Ports that a worker was given as any free one, and closed: it may be about to ask for one by its number. */
  readonly #lent: (Bound & { readonly worker: number })[] = [];
  #workers: readonly number[] = [];
  #lastId = 0;
  /** One bind at a time: of two that ask for the same address, the second finds what the first bound. */
  #turn: Promise<unknown> = Promise.resolve();

  /** `inherited`: what is there already when the master starts. */
  constructor(kernel: Binder, store: DescriptorStore, inherited: readonly InheritedSocket[], onPath: PathListener = () => {}) {
    this.#kernel = kernel;
    this.#store = store;
    this.#onPath = onPath;
    for (const socket of inherited) this.#take(socket);
  }

  /** Binds what the configuration of a generation names. @throws GracefulError `address-…`, `not-a-socket`; then nothing has changed */
  hold(specs: readonly ListenSpec[], generation: number): Promise<void> {
    return this.#inTurn(() => this.#hold(specs, generation));
  }

  /** The listener for a worker's `listen`; bound now if nobody has it. */
  grant(query: ListenQuery, asker: Asker, backlog: number | undefined): Promise<Grant> {
    return this.#inTurn(() => this.#grant(query, asker, backlog));
  }

  /** It is there already. */
  holds(query: ListenQuery): boolean {
    return this.#find(candidatesOf(query)) !== undefined;
  }

  /** A worker has closed what it got. What nobody else has, nor the configuration names, is let go of at once. */
  release(asker: Asker): Promise<void> {
    return this.#inTurn(async () => {
      const listener = this.#listeners.find((candidate) => disclaim(candidate, asker));
      if (listener === undefined) return;
      if (listener.port === 0) this.#lent.splice(0, this.#lent.length - LENT_LIMIT + 1);
      if (listener.port === 0) this.#lent.push({ ...listener, worker: asker.worker });
      this.#forgetOthers(listener, this.#workers); // who takes their place was here, and closed it
      if (listener.claims.size === 0 && listener.names.size === 0 && listener.keeper !== 'systemd') this.#close(listener);
    });
  }

  /** The datagram socket that a worker has got is to be in a multicast group, or need not be for its sake. */
  setMembership(asker: Asker, membership: GroupMembership, isMember: boolean): void {
    const listener = this.#listeners.find(({ claims }) => claims.get(asker.worker)?.has(asker.id));
    if (isMember) listener?.memberships.add(asker.worker, membership);
    else listener?.memberships.remove(asker.worker, membership);
  }

  /** Lets go of what nobody uses. @returns what that was */
  settle({ generations, workers, isAwaited }: Use): string[] {
    this.#workers = workers;
    for (const listener of this.#listeners) {
      for (const generation of listener.names.keys()) if (!generations.includes(generation)) listener.names.delete(generation);
      if (!isAwaited) this.#forgetOthers(listener, workers);
    }
    const useless = this.#listeners.filter(({ keeper, names, claims, isUsed }) => {
      const isAskedFor = claims.size > 0 || (isAwaited && !isUsed);
      return keeper !== 'systemd' && names.size === 0 && !isAskedFor;
    });
    for (const listener of useless) this.#close(listener);
    return useless.map(describe);
  }

  /** Numbers of the listeners that a worker has. */
  of(worker: number): number[] {
    return this.#listeners.filter(({ claims }) => claims.has(worker)).map(({ id }) => id);
  }

  /** Where a worker listens, less what is any free port. */
  addressesOf(worker: number): string[] {
    return this.#listeners.filter((listener) => isFixedFor(listener, worker)).map(describe);
  }

  /** Listeners that the old words of a configuration name, and the new ones don't. */
  namedOnlyBy(before: readonly string[], after: readonly string[]): string[] {
    const gone = before.filter((word) => !after.includes(word));
    const isNamed = (listener: Listener) => gone.some((word) => isNamedIn(word, listener));
    return this.#listeners.filter(isNamed).map(describe);
  }

  /** Makes sure that the paths of Unix sockets lead to them. */
  lookAtPaths(): void {
    for (const { path } of this.#listeners) path?.look();
  }

  /** Closes everything that must not outlive the master, and removes the socket files that are still ours. */
  close(): void {
    for (const listener of this.#listeners.filter(({ keeper }) => keeper === 'master')) this.#close(listener);
  }

  /** Socket files that must not outlive the master. */
  get files(): OwnedFile[] {
    return this.#listeners.flatMap(({ keeper, path }) => (keeper === 'master' ? (path?.files ?? []) : []));
  }

  /** Sockets of `.socket` units that nobody has asked for. */
  get unused(): string[] {
    return this.#listeners.filter(({ keeper, isUsed }) => keeper === 'systemd' && !isUsed).map(describe);
  }

  /** For the log and the status, with the names that this generation knows. */
  describe(generation: number): { name: string | null; address: string; backlog: number }[] {
    return this.#listeners.map((listener) => ({ name: nameOf(listener, generation), address: describe(listener), backlog: listener.backlog }));
  }

  /** What programs of this generation are to give to `listen` for the named ones. */
  named(generation: number): Record<string, Target> {
    const named = this.#listeners.flatMap((listener) => {
      const name = nameOf(listener, generation);
      return name === null ? [] : [{ name, target: targetOf(listener), isConfigured: (listener.names.get(generation) ?? null) !== null }];
    });
    // the sockets of a unit share a name: the first one has it, unless the configuration gives it away
    const inOrder = [...named.filter(({ isConfigured }) => !isConfigured).reverse(), ...named.filter(({ isConfigured }) => isConfigured)];
    return Object.fromEntries(inOrder.map(({ name, target }) => [name, target]));
  }

  async #hold(specs: readonly ListenSpec[], generation: number): Promise<void> {
    const held: { readonly spec: ListenSpec; readonly listener: Listener; readonly isNew: boolean }[] = [];
    const counts = new Map<string, number>();
    try {
      for (const spec of specs) {
        const candidates = await addressesOf(spec, counts);
        const listener = this.#find(candidates) ?? (await this.#bindNamed(spec, candidates));
        held.push({ spec, listener, isNew: listener.id === 0 });
        this.#add(listener);
      }
    } catch (error) {
      for (const { listener, isNew } of held) if (isNew) this.#close(listener);
      throw error;
    }
    for (const { spec, listener } of held) listener.names.set(generation, spec.name ?? listener.names.get(generation) ?? null);
  }

  async #grant(query: ListenQuery, asker: Asker, wantedBacklog: number | undefined): Promise<Grant> {
    const candidates = candidatesOf(query);
    const found = this.#find(candidates);
    if (found?.claims.has(asker.worker)) return refusal({ ...found, errno: EADDRINUSE }); // other processes may share an address, two servers of one may not
    const lent = this.#lent.find(({ worker, boundPort }) => worker === asker.worker && boundPort === query.port);
    const bound = found ?? (await bindFirst(this.#kernel, candidates, query.umask === null ? null : 0o777 & ~query.umask));
    if ('errno' in bound)
      return { ...refusal(bound), isPromised: bound.errno === EADDRINUSE && !query.isFinal && this.#isOnlyOfOthers(candidates, asker.worker) };
    const listener = 'id' in bound ? bound : this.#newListener(lent && isEqual(lent, bound.address) ? lent : bound.address, bound.handle);
    this.#add(listener);
    claim(listener, asker, query.port !== 0 && !lent);
    this.#adjust(listener, query, wantedBacklog);
    const isAdmitted = !listener.isListening;
    listener.isListening = true;
    listener.isUsed = true;
    const { id, handle, address, addressType, backlog, serverData } = listener;
    return { errno: 0, handle, listener: id, address, addressType, backlog, isAdmitted, isPromised: false, serverData };
  }

  /** What the last one who listens says holds for all; the rights of a unit's socket are SocketMode=. */
  #adjust(listener: Listener, query: ListenQuery, wantedBacklog: number | undefined): void {
    if (query.isDatagram) return;
    listener.backlog = wantedBacklog ?? Math.max(listener.backlog, query.backlog);
    listener.serverData ??= query.serverData;
    if (listener.keeper === 'systemd') return;
    const isKnown = query.umask === null || listener.names.size > 0 || listener.umask === query.umask;
    if (!isKnown && listener.umask !== null) listener.path?.allow(0o777 & ~query.umask);
    if (!isKnown) listener.umask = query.umask;
    if (query.readableAll || query.writableAll) (listener.handle as ListenHandle).fchmod?.((query.readableAll ? 1 : 0) | (query.writableAll ? 2 : 0));
  }

  /** Without the others the address would be free. Unix sockets have no overlap: what is at the path is at the path. Nor does anybody look for a free port of UDP. */
  #isOnlyOfOthers(candidates: readonly Address[], worker: number): boolean {
    const inTheWay = this.#listeners.filter((listener) =>
      candidates.some((wanted) => wanted.addressType !== -1 && !wanted.isDatagram && conflicts(listener, wanted)),
    );
    return inTheWay.length > 0 && inTheWay.every(({ claims }) => !claims.has(worker));
  }

  #inTurn<T>(task: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(task);
    this.#turn = result.catch(() => {}); // the caller hears of it
    return result;
  }

  #find(candidates: readonly Address[]): Listener | undefined {
    for (const wanted of candidates) {
      const found = this.#listeners.find((listener) => isSame(listener, wanted) && (listener.path?.look() ?? 'ours') === 'ours');
      if (found) return found;
    }
    const theirs = this.#listeners.filter(({ keeper }) => keeper === 'systemd');
    for (const fits of [isEqual, servesFor]) {
      for (const wanted of candidates) {
        const found = theirs.find((listener) => fits(listener, wanted));
        if (found) return found;
      }
    }
    return undefined;
  }

  #forgetOthers({ claims, memberships }: Listener, workers: readonly number[]): void {
    for (const worker of claims.keys()) if (!workers.includes(worker)) claims.delete(worker);
    memberships.keepOnly(claims);
  }

  #add(listener: Listener): void {
    if (listener.id !== 0) return;
    listener.id = ++this.#lastId;
    this.#listeners.push(listener);
    if (this.#store.keep(listener, listener.handle)) listener.keeper = 'store';
  }

  #take({ handle, name, address, isStored }: InheritedSocket): void {
    const path = isStored ? this.#pathOf(address) : null;
    const listener = newListener({ address, handle, keeper: isStored ? 'store' : 'systemd', unitName: name, path });
    if (!isStored && !address.isDatagram) listener.backlog = SYSTEMD_BACKLOG;
    listener.isListening = true;
    listener.id = ++this.#lastId;
    this.#listeners.push(listener);
  }

  async #bindNamed(spec: ListenSpec, candidates: readonly Address[]): Promise<Listener> {
    const bound = await bindFirst(this.#kernel, candidates, spec.kind === 'unix' ? spec.mode : null);
    if ('errno' in bound) throw cannotListen(spec, bound.errno);
    return this.#newListener(bound.address, bound.handle);
  }

  #newListener(address: Address, handle: ListenHandle | DatagramHandle): Listener {
    return newListener({ address, handle, path: this.#pathOf(address) });
  }

  #pathOf({ address, addressType }: Address): SocketPath | null {
    if (addressType !== -1 || address.startsWith('\0')) return null;
    return keepPath(address, (state, isRestored) => this.#onPath(`unix:${address}`, state, isRestored));
  }

  #close(listener: Listener): void {
    const at = this.#listeners.indexOf(listener);
    if (at >= 0) this.#listeners.splice(at, 1);
    if (listener.keeper === 'store') this.#store.drop(listener);
    // closing unlinks the path whoever owns it by now: then the handle is rather left to the end of the process
    const { path, handle } = listener;
    closeSent(handle, () => path?.isTaken || handle.close());
    path?.remove();
  }
}
