/** A listening socket, or a bound datagram socket, that the master holds: what it is, and who uses it. */
import type { DatagramHandle } from '../../node/datagram.ts';
import type { ListenHandle } from '../../node/handle.ts';
import { portOf } from '../../node/handle.ts';
import type { Address, Bound } from './addresses.ts';
import { Memberships } from './memberships.ts';
import type { SocketPath } from './socket-path.ts';

const DEFAULT_BACKLOG = 511; // Node's own

/**
 * Who holds a socket besides us, and so what its end is:
 * `master`: nobody; it is closed with the master, and its path removed.
 * `store`: systemd's descriptor store; it outlives the master, and so does its path, until nobody uses it.
 * `systemd`: a `.socket` unit; it is never closed, and its path never removed.
 */
export type Keeper = 'master' | 'store' | 'systemd';

/** Who a listen is of. */
export interface Asker {
  readonly worker: number;
  /** Its own number for the listen. */
  readonly id: number;
}

export interface Listener extends Bound {
  /** From 1, never used again; 0: not held yet. */
  id: number;
  readonly handle: ListenHandle | DatagramHandle;
  keeper: Keeper;
  /** Of a Unix socket that has one. */
  readonly path: SocketPath | null;
  /** Listens that got it and have not closed it, by worker; true: any start of the program asks for this very address. */
  readonly claims: Map<number, Map<number, boolean>>;
  /** What the configuration of each generation calls it; null: it names the address alone. */
  readonly names: Map<number, string | null>;
  /** What a `.socket` unit calls it. */
  readonly unitName: string | null;
  /** Somebody has asked for it, ever. */
  isUsed: boolean;
  backlog: number;
  /** Multicast groups of a datagram socket. */
  readonly memberships: Memberships;
  /** Somebody was let to accept: from then on new workers wait for their admission. */
  isListening: boolean;
  /** Of a Unix socket, as the program had it when it listened last; null: nobody said. */
  umask: number | null;
  serverData: unknown;
}

/** Where a program is to listen. */
export type Target = { readonly host: string; readonly address?: string; readonly port: number } | { readonly path: string };

/** What there is to know of a new one. */
export interface Birth {
  readonly address: Address;
  readonly handle: ListenHandle | DatagramHandle;
  readonly keeper?: Keeper;
  readonly unitName?: string | null;
  readonly path: SocketPath | null;
}

export function newListener({ address, handle, keeper = 'master', unitName = null, path }: Birth): Listener {
  return {
    ...address,
    id: 0,
    handle,
    keeper,
    boundPort: portOf(handle),
    path,
    claims: new Map(),
    names: new Map(),
    unitName,
    isUsed: false,
    memberships: new Memberships(handle as DatagramHandle),
    backlog: address.isDatagram ? 0 : DEFAULT_BACKLOG,
    isListening: false,
    umask: null,
    serverData: null,
  };
}

/** A worker has got it. */
export function claim({ claims }: Listener, { worker, id }: Asker, isFixed: boolean): void {
  claims.set(worker, (claims.get(worker) ?? new Map<number, boolean>()).set(id, isFixed));
}

/** A worker has closed what it got. @returns false if it had nothing there */
export function disclaim({ claims }: Listener, { worker, id }: Asker): boolean {
  const own = claims.get(worker);
  if (!own?.delete(id)) return false;
  if (own.size === 0) claims.delete(worker);
  return true;
}

/** The worker has it, and any start of its program would ask for this very address. */
export function isFixedFor({ claims }: Listener, worker: number): boolean {
  return [...(claims.get(worker)?.values() ?? [])].includes(true);
}

/** What a program of any generation is to give to `listen`, or to `bind`, which calls a host an address. */
export function targetOf({ isDatagram, address, addressType, boundPort }: Listener): Target {
  if (addressType === -1) return { path: address };
  return { host: address, ...(isDatagram ? { address } : {}), port: boundPort };
}

export function nameOf({ names, unitName }: Listener, generation: number): string | null {
  return names.get(generation) ?? unitName;
}
