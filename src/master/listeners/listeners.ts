/**
 * Custody of the listening sockets. The master binds each address once and keeps the handle; it never listens on it in its
 * own loop, so it never accepts. The same address always gets the same handle, and so outlives every worker.
 */
import { chmodSync } from 'node:fs';
import type { ListenSpec } from '../../config/config.ts';
import type { Kernel } from '../../kernel.ts';
import { closeSent } from '../../node/channel.ts';
import { type ListenHandle, portOf } from '../../node/handle.ts';
import { isStillOurs, type OwnedFile, rememberFile, removeIfOurs } from '../../owned-file.ts';
import type { ListenQuery } from '../../protocol/worker.ts';
import { type Address, addressesOf, type Bound, candidatesOf, conflicts, describe, isEqual, isSame } from './addresses.ts';
import { bindFirst, cannotListen } from './binding.ts';
import type { DescriptorStore } from './descriptor-store.ts';
import type { InheritedSocket } from './inherited.ts';

const DEFAULT_BACKLOG = 511; // Node's own
const SYSTEMD_BACKLOG = 4096; // of a .socket unit; what it really is can't be asked, and a listen(2) must not make it less

/**
 * Who holds a socket besides us, and so what its end is:
 * `master`: nobody; it is closed with the master, and its path removed.
 * `store`: systemd's descriptor store; it outlives the master, and so does its path, until no generation uses it.
 * `systemd`: a `.socket` unit; it is never closed, and its path never removed.
 */
type Keeper = 'master' | 'store' | 'systemd';

interface Listener extends Bound {
  /** From 1, never used again; 0: not held yet. */
  id: number;
  readonly handle: ListenHandle;
  keeper: Keeper;
  readonly file: OwnedFile | null;
  /** Generations that use it: a worker of theirs asked for it, or their configuration names it. */
  readonly usedBy: Set<number>;
  /** What each generation's configuration calls it. */
  readonly names: Map<number, string>;
  /** What a `.socket` unit calls it. */
  readonly unitName: string | null;
  backlog: number;
  /** Somebody was let to listen: from then on the kernel queues connections, and new workers wait for their admission. */
  isListening: boolean;
  serverData: unknown;
}

/** The answer to a worker. */
export interface Grant {
  /** 0, or below it what Node is to fail with. */
  readonly errno: number;
  readonly handle: ListenHandle | undefined;
  /** The number of the listener in this master; 0: there is none. */
  readonly listener: number;
  readonly address: string | null;
  readonly addressType: number;
  readonly backlog: number;
  readonly isAdmitted: boolean;
  readonly serverData: unknown;
}

/** All listeners of this master. */
export class Listeners {
  readonly #listeners: Listener[] = [];
  readonly #kernel: Pick<Kernel, 'bind'>;
  readonly #store: DescriptorStore;
  #lastId = 0;
  /** One bind at a time: of two that ask for the same address, the second finds what the first bound. */
  #turn: Promise<unknown> = Promise.resolve();

  /** `inherited`: what is there already when the master starts. */
  constructor(kernel: Pick<Kernel, 'bind'>, store: DescriptorStore, inherited: readonly InheritedSocket[]) {
    this.#kernel = kernel;
    this.#store = store;
    for (const socket of inherited) this.#take(socket);
  }

  /** Binds what the configuration of a generation names. @throws GracefulError `address-…`, `not-a-socket`; then nothing has changed */
  hold(specs: readonly ListenSpec[], generation: number): Promise<void> {
    return this.#inTurn(() => this.#hold(specs, generation));
  }

  /** The listener for a worker's `listen`; bound now if nobody asked before. */
  grant(query: ListenQuery, { generation, backlog }: { generation: number; backlog: number | undefined }): Promise<Grant> {
    return this.#inTurn(() => this.#grant(query, generation, backlog));
  }

  /** It is there already. */
  holds(query: ListenQuery): boolean {
    return this.#find(candidatesOf(query)) !== undefined;
  }

  /** Closes what only other generations use. @returns what was closed */
  prune(generations: readonly number[]): string[] {
    const useless = this.#listeners.filter(({ keeper, usedBy }) => keeper !== 'systemd' && !generations.some((generation) => usedBy.has(generation)));
    for (const listener of useless) this.#close(listener);
    return useless.map(describe);
  }

  /** Closes everything that must not outlive the master, and removes the socket files that are still ours. */
  close(): void {
    for (const listener of this.#listeners.filter(({ keeper }) => keeper === 'master')) this.#close(listener);
  }

  /** Socket files that must not outlive the master. */
  get files(): OwnedFile[] {
    return this.#listeners.flatMap(({ keeper, file }) => (keeper === 'master' ? (file ?? []) : []));
  }

  /** Sockets of `.socket` units that nobody has asked for. */
  get unused(): string[] {
    return this.#listeners.filter(({ keeper, usedBy }) => keeper === 'systemd' && usedBy.size === 0).map(describe);
  }

  /** For the log and the status, with the names that this generation knows. */
  describe(generation: number): { name: string | null; address: string; backlog: number }[] {
    return this.#listeners.map((listener) => ({ name: nameOf(listener, generation), address: describe(listener), backlog: listener.backlog }));
  }

  /** What programs of this generation are to give to `listen` for the named ones. */
  named(generation: number): Record<string, { host: string; port: number } | { path: string }> {
    const named = this.#listeners.flatMap((listener) => {
      const name = nameOf(listener, generation);
      return name === null ? [] : [{ name, target: targetOf(listener), isConfigured: listener.names.has(generation) }];
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
    for (const { spec, listener } of held) {
      listener.usedBy.add(generation);
      if (spec.name !== null) listener.names.set(generation, spec.name);
    }
  }

  async #grant(query: ListenQuery, generation: number, wantedBacklog: number | undefined): Promise<Grant> {
    const candidates = candidatesOf(query);
    const found = this.#find(candidates) ?? (await bindFirst(this.#kernel, candidates));
    if ('errno' in found) return { ...found, handle: undefined, listener: 0, backlog: 0, isAdmitted: false, serverData: null };
    const listener = 'id' in found ? found : newListener(found.address, found.handle);
    this.#add(listener);
    listener.usedBy.add(generation);
    listener.backlog = wantedBacklog ?? Math.max(listener.backlog, query.backlog);
    listener.serverData ??= query.serverData;
    const isOurs = listener.keeper !== 'systemd'; // SocketMode= of the unit holds
    if (isOurs && (query.readableAll || query.writableAll)) listener.handle.fchmod?.((query.readableAll ? 1 : 0) | (query.writableAll ? 2 : 0));
    const isAdmitted = !listener.isListening;
    listener.isListening = true;
    const { id, handle, address, addressType, backlog, serverData } = listener;
    return { errno: 0, handle, listener: id, address, addressType, backlog, isAdmitted, serverData };
  }

  #inTurn<T>(task: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(task);
    this.#turn = result.catch(() => {}); // the caller hears of it
    return result;
  }

  #find(candidates: readonly Address[]): Listener | undefined {
    for (const wanted of candidates) {
      const found = this.#listeners.find((listener) => isSame(listener, wanted));
      if (found) return found;
    }
    const theirs = this.#listeners.filter(({ keeper }) => keeper === 'systemd');
    for (const fits of [isEqual, conflicts]) {
      for (const wanted of candidates) {
        const found = theirs.find((listener) => fits(listener, wanted));
        if (found) return found;
      }
    }
    return undefined;
  }

  #add(listener: Listener): void {
    if (listener.id !== 0) return;
    listener.id = ++this.#lastId;
    this.#listeners.push(listener);
    if (this.#store.keep(listener, listener.handle)) listener.keeper = 'store';
  }

  #take({ handle, name, address, isStored }: InheritedSocket): void {
    const listener = newListener(address, handle, isStored ? 'store' : 'systemd', name);
    if (!isStored) listener.backlog = SYSTEMD_BACKLOG;
    listener.isListening = true;
    listener.id = ++this.#lastId;
    this.#listeners.push(listener);
  }

  async #bindNamed(spec: ListenSpec, candidates: readonly Address[]): Promise<Listener> {
    const bound = await bindFirst(this.#kernel, candidates);
    if ('errno' in bound) throw cannotListen(spec, bound.errno);
    if (spec.kind === 'unix' && spec.mode !== null) chmodSync(spec.path, spec.mode);
    return newListener(bound.address, bound.handle);
  }

  #close(listener: Listener): void {
    const at = this.#listeners.indexOf(listener);
    if (at >= 0) this.#listeners.splice(at, 1);
    if (listener.keeper === 'store') this.#store.drop(listener);
    const { file, handle } = listener;
    // closing unlinks the path whoever owns it by now: then the handle is rather left to the end of the process
    closeSent(handle, () => (file === null || isStillOurs(file)) && handle.close());
    if (file !== null) removeIfOurs(file);
  }
}

function newListener(address: Address, handle: ListenHandle, keeper: Keeper = 'master', unitName: string | null = null): Listener {
  const isFile = keeper !== 'systemd' && address.addressType === -1 && !address.address.startsWith('\0');
  return {
    ...address,
    id: 0,
    handle,
    keeper,
    boundPort: portOf(handle),
    file: isFile ? rememberFile(address.address) : null,
    usedBy: new Set(),
    names: new Map(),
    unitName,
    backlog: DEFAULT_BACKLOG,
    isListening: false,
    serverData: null,
  };
}

function targetOf({ address, addressType, boundPort }: Listener): { host: string; port: number } | { path: string } {
  return addressType === -1 ? { path: address } : { host: address, port: boundPort };
}

function nameOf({ names, unitName }: Listener, generation: number): string | null {
  return names.get(generation) ?? unitName;
}
