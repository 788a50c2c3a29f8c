/**
 * Custody of the listening sockets. The master binds each address once and keeps the handle; it never listens on it in its
 * own loop, so it never accepts. The same address always gets the same handle, and so outlives every worker.
 */
import { lookup } from 'node:dns/promises';
import { chmodSync, existsSync, lstatSync } from 'node:fs';
import { isIP } from 'node:net';
import { constants } from 'node:os';
import { dirname } from 'node:path';
import { getSystemErrorName } from 'node:util';
import type { ListenSpec } from '../config/config.ts';
import { GracefulError } from '../errors.ts';
import { bindHandle, type ListenHandle, portOf } from '../node/handle.ts';
import { isStillOurs, type OwnedFile, rememberFile, removeIfOurs } from '../owned-file.ts';
import type { ListenQuery } from '../protocol/worker.ts';
import { isAlive } from './claim.ts';

const DEFAULT_BACKLOG = 511; // Node's own
const EADDRINUSE = -constants.errno.EADDRINUSE;

interface Address {
  /** IP address or absolute path. */
  readonly address: string;
  /** As asked for; 0: any. */
  readonly port: number;
  readonly addressType: number;
  readonly flags: number;
  /** Tells apart several ports 0 of one address. */
  readonly index: number;
}

interface Listener extends Address {
  /** From 1, never used again; 0: not held yet. */
  id: number;
  readonly handle: ListenHandle;
  readonly boundPort: number;
  readonly file: OwnedFile | null;
  /** Generations that use it: a worker of theirs asked for it, or their configuration names it. */
  readonly usedBy: Set<number>;
  /** What each generation's configuration calls it. */
  readonly names: Map<number, string>;
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
  #lastId = 0;
  /** One bind at a time: of two that ask for the same address, the second finds what the first bound. */
  #turn: Promise<unknown> = Promise.resolve();

  /** Binds what the configuration of a generation names. @throws GracefulError `address-…`, `not-a-socket`; then nothing has changed */
  hold(specs: readonly ListenSpec[], generation: number): Promise<void> {
    return this.#inTurn(() => this.#hold(specs, generation));
  }

  /** The listener for a worker's `listen`; bound now if nobody asked before. */
  grant(query: ListenQuery, { generation, backlog }: { generation: number; backlog: number | undefined }): Promise<Grant> {
    return this.#inTurn(() => this.#grant(query, generation, backlog));
  }

  /** Closes what only other generations use. @returns what was closed */
  prune(generations: readonly number[]): string[] {
    const useless = this.#listeners.filter(({ usedBy }) => !generations.some((generation) => usedBy.has(generation)));
    for (const listener of useless) this.#close(listener);
    return useless.map(describe);
  }

  /** Closes everything and removes the socket files that are still ours. */
  close(): void {
    for (const listener of [...this.#listeners]) this.#close(listener);
  }

  /** Socket files that must not outlive the master. */
  get files(): OwnedFile[] {
    return this.#listeners.flatMap(({ file }) => file ?? []);
  }

  /** For the log and the status, with the names that this generation knows. */
  describe(generation: number): { name: string | null; address: string; backlog: number }[] {
    return this.#listeners.map((listener) => ({ name: listener.names.get(generation) ?? null, address: describe(listener), backlog: listener.backlog }));
  }

  /** What programs of this generation are to give to `listen` for the named ones. */
  named(generation: number): Record<string, { host: string; port: number } | { path: string }> {
    const named = this.#listeners.flatMap((listener) => {
      const name = listener.names.get(generation);
      return name === undefined ? [] : [[name, targetOf(listener)] as const];
    });
    return Object.fromEntries(named);
  }

  async #hold(specs: readonly ListenSpec[], generation: number): Promise<void> {
    const held: { readonly spec: ListenSpec; readonly listener: Listener }[] = [];
    const counts = new Map<string, number>();
    try {
      for (const spec of specs) {
        const candidates = await addressesOf(spec, counts);
        const listener = this.#find(candidates) ?? (await this.#bindNamed(spec, candidates));
        this.#add(listener);
        held.push({ spec, listener });
      }
    } catch (error) {
      for (const { listener } of held) if (listener.usedBy.size === 0) this.#close(listener);
      throw error;
    }
    for (const { spec, listener } of held) {
      listener.usedBy.add(generation);
      if (spec.name !== null) listener.names.set(generation, spec.name);
    }
  }

  async #grant(query: ListenQuery, generation: number, wantedBacklog: number | undefined): Promise<Grant> {
    const candidates = candidatesOf(query);
    const listener = this.#find(candidates) ?? (await bindFirst(candidates));
    if ('errno' in listener) return { ...listener, handle: undefined, listener: 0, backlog: 0, isAdmitted: false, serverData: null };
    this.#add(listener);
    listener.usedBy.add(generation);
    listener.backlog = wantedBacklog ?? Math.max(listener.backlog, query.backlog);
    listener.serverData ??= query.serverData;
    if (query.readableAll || query.writableAll) listener.handle.fchmod?.((query.readableAll ? 1 : 0) | (query.writableAll ? 2 : 0));
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
    return undefined;
  }

  #add(listener: Listener): void {
    if (listener.id !== 0) return;
    listener.id = ++this.#lastId;
    this.#listeners.push(listener);
  }

  async #bindNamed(spec: ListenSpec, candidates: readonly Address[]): Promise<Listener> {
    const bound = await bindFirst(candidates);
    if ('errno' in bound) throw cannotListen(spec, bound.errno);
    if (spec.kind === 'unix' && spec.mode !== null) chmodSync(spec.path, spec.mode);
    return bound;
  }

  #close(listener: Listener): void {
    const at = this.#listeners.indexOf(listener);
    if (at >= 0) this.#listeners.splice(at, 1);
    // closing unlinks the path whoever owns it by now: then the handle is rather left to the end of the process
    if (listener.file === null || isStillOurs(listener.file)) listener.handle.close();
    if (listener.file !== null) removeIfOurs(listener.file);
  }
}

function isSame(listener: Listener, wanted: Address): boolean {
  if (listener.address !== wanted.address || listener.addressType !== wanted.addressType || listener.flags !== wanted.flags) return false;
  return wanted.port === 0 ? listener.port === 0 && listener.index === wanted.index : listener.boundPort === wanted.port || listener.port === wanted.port;
}

/** What Node would try for this query, in its order: no address means every IPv6 and IPv4 address, or else every IPv4 address. */
function candidatesOf(query: Pick<ListenQuery, 'address' | 'port' | 'addressType' | 'flags' | 'index'>): Address[] {
  const { address, port, addressType, flags, index } = query;
  if (address !== null) return [{ address, port, addressType, flags: addressType === 6 ? flags & 1 : 0, index }];
  return [
    { address: '::', port, addressType: 6, flags: flags & 1, index },
    { address: '0.0.0.0', port, addressType: 4, flags: 0, index },
  ];
}

async function addressesOf(spec: ListenSpec, counts: Map<string, number>): Promise<Address[]> {
  if (spec.kind === 'unix') return candidatesOf({ address: spec.path, port: -1, addressType: -1, flags: 0, index: 0 });
  const index = spec.port === 0 ? (counts.get(`${spec.host}`) ?? 0) : 0;
  counts.set(`${spec.host}`, index + 1);
  if (spec.host === null) return candidatesOf({ address: null, port: spec.port, addressType: 4, flags: 0, index });
  const { address, family } = isIP(spec.host) ? { address: spec.host, family: isIP(spec.host) } : await resolveHost(spec.host);
  return candidatesOf({ address, port: spec.port, addressType: family, flags: 0, index });
}

async function resolveHost(host: string): Promise<{ address: string; family: number }> {
  try {
    return await lookup(host);
  } catch (cause) {
    throw new GracefulError('address-unavailable', `cannot listen on ${host}: there is no address of that name`, { hint: 'pass an IP address', cause });
  }
}

async function bindFirst(candidates: readonly Address[]): Promise<Listener | { errno: number; address: string; addressType: number }> {
  let failed: { errno: number; address: string; addressType: number } | undefined;
  for (const candidate of candidates) {
    const handle =
      candidate.addressType === -1 ? await bindPath(candidate.address) : bindHandle(candidate.address, candidate.port, candidate.addressType, candidate.flags);
    if (typeof handle !== 'number') return newListener(candidate, handle);
    failed = { errno: handle, address: candidate.address, addressType: candidate.addressType };
    if (handle === EADDRINUSE) break; // Node would not try the other family either
  }
  return failed as { errno: number; address: string; addressType: number };
}

function newListener(address: Address, handle: ListenHandle): Listener {
  const isFile = address.addressType === -1 && !address.address.startsWith('\0');
  return {
    ...address,
    id: 0,
    handle,
    boundPort: portOf(handle),
    file: isFile ? rememberFile(address.address) : null,
    usedBy: new Set(),
    names: new Map(),
    backlog: DEFAULT_BACKLOG,
    isListening: false,
    serverData: null,
  };
}

/** Binds a Unix socket; one that a dead process left is replaced, a living one and what is no socket are not. */
async function bindPath(path: string): Promise<ListenHandle | number> {
  const handle = bindHandle(path, -1, -1, 0);
  if (handle !== EADDRINUSE || path.startsWith('\0')) return handle;
  if (!lstatSync(path, { throwIfNoEntry: false })?.isSocket()) return handle;
  const stale = rememberFile(path);
  if (await isAlive(path)) return handle;
  removeIfOurs(stale);
  return bindHandle(path, -1, -1, 0);
}

function describe({ address, addressType, boundPort }: Listener): string {
  if (addressType === -1) return `unix:${address}`;
  return addressType === 6 ? `[${address}]:${boundPort}` : `${address}:${boundPort}`;
}

function targetOf({ address, addressType, boundPort }: Listener): { host: string; port: number } | { path: string } {
  return addressType === -1 ? { path: address } : { host: address, port: boundPort };
}

function cannotListen(spec: ListenSpec, errno: number): GracefulError {
  const where = spec.kind === 'unix' ? spec.path : `${spec.host ?? '*'}:${spec.port}`;
  const name = getSystemErrorName(errno);
  if (spec.kind === 'unix' && errno === EADDRINUSE && !lstatSync(spec.path, { throwIfNoEntry: false })?.isSocket()) {
    return new GracefulError('not-a-socket', `cannot listen on ${where}: the file is there and is no socket`, { hint: 'remove it, or pass another path' });
  }
  if (name === 'EADDRINUSE') {
    const hint = spec.kind === 'unix' ? 'another process listens on it' : `another process holds it (ss -ltnp 'sport = :${spec.port}')`;
    return new GracefulError('address-in-use', `cannot listen on ${where}: address already in use`, { hint });
  }
  if (name === 'EACCES' || name === 'EPERM' || name === 'EROFS') {
    // libuv says EACCES for ENOENT
    const reason =
      spec.kind === 'unix' && !existsSync(dirname(spec.path)) ? 'no such folder' : name === 'EROFS' ? 'read-only file system' : 'permission denied';
    const hint = spec.kind === 'unix' ? 'the folder must be there, and writable' : 'ports below 1024 need CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities=)';
    return new GracefulError('address-denied', `cannot listen on ${where}: ${reason}`, { hint });
  }
  return new GracefulError('address-unavailable', `cannot listen on ${where}: ${name}`, { hint: 'the address must be one of this machine (ip address)' });
}
