/**
 * Datagram sockets as raw handles, which many processes share.
 *
 * Undocumented, each tried on 20.20, 22.23, 24.21, 26.10:
 * - a `dgram.Socket` keeps its state under `Symbol(state symbol)`: `handle`, `bindState`, `connectState`. Missing: the master can't bind, and says so by EOPNOTSUPP;
 *   nor is a bind of a program intercepted (`bind.ts`).
 * - `handle.bind`, `bind6`, `recvStart`, `recvStop`, `getsockname`, `fd`, and those of memberships and peers: a `UDP` of libuv. Whoever gets a copy of its
 *   descriptor makes it SO_REUSEADDR (`uv_udp_open`), as a worker of Node's `cluster` does.
 */
import { AsyncResource } from 'node:async_hooks';
import type { Socket } from 'node:dgram';
import { isIP } from 'node:net';
import type { SocketHandle } from './handle.ts';

/** A datagram socket as libuv has it. */
export interface DatagramHandle extends SocketHandle {
  bind(address: string, port: number, flags: number): number;
  bind6(address: string, port: number, flags: number): number;
  connect(address: string, port: number): number;
  connect6(address: string, port: number): number;
  disconnect(): number;
  getpeername(into: Peer): number;
  send(...how: unknown[]): number;
  recvStart(): number;
  recvStop(): number;
  /** Put there by Node; calls back later. */
  lookup(host: string, callback: (error: Error | null, address: string) => void): void;
  addMembership(group: string, via: string | undefined): number;
  dropMembership(group: string, via: string | undefined): number;
  addSourceSpecificMembership(source: string, group: string, via: string | undefined): number;
  dropSourceSpecificMembership(source: string, group: string, via: string | undefined): number;
  asyncReset?(resource: object): void;
}

/** What Node knows of a socket. */
export interface DatagramState {
  /** null: it was closed. */
  readonly handle: DatagramHandle | null;
  /** 0: not bound, 1: about to be, 2: bound. */
  readonly bindState: number;
  /** 0: it has no peer. */
  readonly connectState: number;
}

/** That a socket gets what is sent to a multicast group. */
export interface Membership {
  /** null: whoever sends it. */
  readonly source: string | null;
  readonly group: string;
  /** Address of an interface; null: one that the system picks. */
  readonly via: string | null;
}

interface Peer {
  address?: string;
  port?: number;
}

/** UV_UDP_REUSEADDR. */
export const REUSE_ADDRESS = 4;

const EINVAL = -22;
/** This Node lacks what custody of datagram sockets needs. */
export const EOPNOTSUPP = -95;
const EADDRINUSE = -98;
const EADDRNOTAVAIL = -99;

/** Binds without receiving. @returns the handle, or an errno below 0 */
export function bindDatagramHandle(address: string, port: number, addressType: number, flags: number): DatagramHandle | number {
  const handle = stateOf(newSocket())?.handle;
  if (!handle) return EOPNOTSUPP;
  const errno = addressType === 6 ? handle.bind6(address, port, flags) : handle.bind(address, port, flags);
  if (errno === 0) return handle;
  handle.close();
  return errno;
}

/** Takes an inherited descriptor over, and receives nothing. @returns the handle; an errno below 0 where it is no UDP socket */
export function openDatagramHandle(fd: number): DatagramHandle | number {
  const socket = newSocket();
  const handle = stateOf(socket)?.handle;
  if (!handle) return EOPNOTSUPP;
  handle.recvStart = () => 0;
  try {
    socket.bind({ fd, exclusive: true });
    Reflect.deleteProperty(handle, 'recvStart');
    return handle;
  } catch {
    socket.close(); // ERR_INVALID_FD_TYPE
    return EINVAL;
  }
}

function newSocket(): Socket {
  return process.getBuiltinModule('node:dgram').createSocket('udp4');
}

/** undefined where this Node keeps it elsewhere. */
export function stateOf(socket: Socket): DatagramState | undefined {
  const symbol = Object.getOwnPropertySymbols(socket).find(({ description }) => description === 'state symbol');
  return symbol && (Reflect.get(socket, symbol) as DatagramState);
}

/** It was made for IPv6. */
export function isIpv6(socket: Socket): boolean {
  return (socket as Socket & { readonly type?: string }).type === 'udp6';
}

/** Until it is admitted a socket sends, but receives nothing: that is for others yet. @returns begins to receive; an errno below 0 says that it could not */
export function holdBackReceiving(socket: Socket, handle: DatagramHandle, mayReceive: boolean): () => number {
  if (mayReceive) return () => 0;
  handle.recvStart = () => 0;
  return () => {
    Reflect.deleteProperty(handle, 'recvStart');
    if (stateOf(socket)?.connectState === 0 && handle.getpeername({}) === 0) handle.disconnect(); // from the peer of the code of before
    return handle.recvStart();
  };
}

/** Stops receiving: what has come waits in the kernel for whoever reads next. Sending goes on; `onSent` hears of it. */
export function stopReceiving(handle: DatagramHandle, onSent: () => void): void {
  const { send } = handle;
  handle.recvStart = () => 0;
  handle.recvStop();
  handle.send = (...how) => {
    onSent();
    return send.apply(handle, how);
  };
}

/**
 * The peer holds for everybody who has the socket: where it is there already, the socket is as good as connected, and another one takes its place. (Node forgets
 * `connect6` where it gives a handle to a socket for IPv6.)
 */
export function shareConnect(socket: Socket, handle: DatagramHandle): void {
  const connect = isIpv6(socket) ? handle.connect6 : handle.connect;
  handle.connect = (address, port) => {
    const peer: Peer = {};
    const isConnected = handle.getpeername(peer) === 0;
    if (isConnected && peer.address === address && peer.port === port) return 0;
    if (isConnected) handle.disconnect();
    return connect.call(handle, address, port);
  };
}

/**
 * So do memberships: one that the socket has by another worker can be had again, and what a program leaves is only told, since others may want it. The master
 * leaves a group when nobody does.
 */
export function shareMemberships(handle: DatagramHandle, tell: (membership: Membership, isMember: boolean) => void): void {
  const own = new Map<string, Membership>();
  const join = (membership: Membership, errno: number) => {
    const key = JSON.stringify(membership);
    if (errno !== 0 && (own.has(key) || !isMemberAlready(errno, membership))) return errno;
    own.set(key, membership);
    tell(membership, true);
    return 0;
  };
  const leave = (membership: Membership) => {
    if (!own.delete(JSON.stringify(membership))) return whyNone(membership, [...own.values()]);
    tell(membership, false);
    return 0;
  };
  const { addMembership, addSourceSpecificMembership: addFrom } = handle;
  handle.addMembership = (group, via) => join(toMembership(null, group, via), addMembership.call(handle, group, via));
  handle.addSourceSpecificMembership = (source, group, via) => join(toMembership(source, group, via), addFrom.call(handle, source, group, via));
  handle.dropMembership = (group, via) => leave(toMembership(null, group, via));
  handle.dropSourceSpecificMembership = (source, group, via) => leave(toMembership(source, group, via));
}

/** What the kernel says to who leaves a group without being in it. */
function whyNone({ source, group }: Membership, own: readonly Membership[]): number {
  const isKnown = source === null ? isIP(group) !== 0 : own.some((other) => other.group === group);
  return isKnown ? EADDRNOTAVAIL : EINVAL;
}

/** A second membership of the same kind, as the kernel says it. @see ip(7), ip_mc_source() of Linux */
function isMemberAlready(errno: number, { source }: Membership): boolean {
  return errno === EADDRINUSE || (source !== null && errno === EADDRNOTAVAIL);
}

function toMembership(source: string | null, group: string, via: string | null | undefined): Membership {
  return { source, group: String(group), via: via ?? null };
}

/** Leaves a group; that it was left already is no harm. */
export function leaveGroup(handle: DatagramHandle, { source, group, via }: Membership): void {
  if (source === null) handle.dropMembership(group, via ?? undefined);
  else handle.dropSourceSpecificMembership(source, group, via ?? undefined);
}

/** A datagram socket that is being closed says so only when the returned function is called. */
export function delayDatagramClose(socket: Socket): () => void {
  const own = Object.getOwnPropertyDescriptor(socket, 'emit');
  const { emit } = socket;
  let isDue = false;
  const value = (...event: unknown[]) => {
    if (event[0] !== 'close') return Reflect.apply(emit, socket, event) as boolean;
    isDue = true;
    return true;
  };
  Object.defineProperty(socket, 'emit', { value, configurable: true, writable: true, enumerable: false });
  return AsyncResource.bind(() => {
    Reflect.deleteProperty(socket, 'emit');
    if (own) Object.defineProperty(socket, 'emit', own);
    if (isDue) process.nextTick(() => socket.emit('close')); // what a listener throws is the program's own
  });
}
