/** Addresses of listeners: what a `listen` or an option means, and which socket it may have. */
import { statSync } from 'node:fs';
import { isIP, SocketAddress } from 'node:net';
import type { ListenSpec } from '../../config/config.ts';
import { GracefulError } from '../../errors.ts';
import type { ListenQuery } from '../../protocol/worker.ts';

/** UV_TCP_IPV6ONLY, UV_UDP_IPV6ONLY. */
const IPV6_ONLY = 1;

/** An address as somebody asked for it. */
export interface Address {
  /** UDP; otherwise a stream. The two have nothing in common, not even their ports. */
  readonly isDatagram: boolean;
  /** IP address or absolute path. */
  readonly address: string;
  /** As asked for; 0: any. */
  readonly port: number;
  readonly addressType: number;
  readonly flags: number;
  /** Tells apart several ports 0 of one address, and several datagram sockets that share one. */
  readonly index: number;
}

/** A socket at an address. */
export interface Bound extends Address {
  readonly boundPort: number;
}

/** True if the listener is what was asked for. Whether a datagram socket is to share its address with others matters when it is bound. */
export function isSame(listener: Bound, wanted: Address): boolean {
  if (listener.isDatagram !== wanted.isDatagram || listener.address !== wanted.address || listener.addressType !== wanted.addressType) return false;
  if (isIpv6Only(listener) !== isIpv6Only(wanted)) return false;
  if (wanted.port === 0) return listener.port === 0 && listener.index === wanted.index;
  if (listener.boundPort !== wanted.port && listener.port !== wanted.port) return false;
  return !wanted.isDatagram || listener.port === 0 || listener.index === wanted.index;
}

/**
 * True where the kernel would refuse the wanted address because the bound one is there: it is the same, or one of them is every
 * address of a family that has the other. An IPv6 socket for every address is taken for one that takes IPv4, too, unless only IPv6 is wanted.
 */
export function conflicts(bound: Bound, wanted: Address): boolean {
  if (bound.isDatagram !== wanted.isDatagram) return false;
  if (wanted.addressType === -1) return bound.addressType === -1 && (bound.address === wanted.address || isSameFile(bound.address, wanted.address));
  if (bound.addressType === -1 || wanted.port === 0 || bound.boundPort !== wanted.port) return false;
  if (isEqual(bound, wanted)) return true;
  return contains(bound, wanted) || contains(wanted, bound);
}

/**
 * True where what was bound by somebody else does for the wanted address. A program that has made a datagram socket for IPv4 could not answer by one for IPv6, which
 * tells it the senders' addresses as IPv6 has them.
 */
export function servesFor(bound: Bound, wanted: Address): boolean {
  return conflicts(bound, wanted) && (!wanted.isDatagram || bound.addressType === wanted.addressType);
}

/** True for the very address, whether for IPv6 only or not. */
export function isEqual(bound: Bound, wanted: Address): boolean {
  const isAlike = bound.isDatagram === wanted.isDatagram && bound.addressType === wanted.addressType;
  return isAlike && bound.boundPort === wanted.port && plain(bound) === plain(wanted);
}

/** True if a word of a configuration names the path, or the port by its number. */
export function isNamedIn(word: string, { address, addressType, boundPort }: Bound): boolean {
  return addressType === -1 ? word.includes(address) : word.match(/\d+/g)?.includes(String(boundPort)) === true;
}

/** For people: `[::]:8080`, `udp:127.0.0.1:53`, `unix:/run/app.sock`. */
export function describe({ isDatagram, address, addressType, boundPort }: Bound): string {
  if (addressType === -1) return `unix:${address.replace(/^\0/, '@')}`;
  return `${isDatagram ? 'udp:' : ''}${addressType === 6 ? `[${address}]` : address}:${boundPort}`;
}

type Query = Pick<ListenQuery, 'isDatagram' | 'address' | 'port' | 'addressType' | 'flags' | 'index'>;

/** What Node would try for this query, in its order: no address means every IPv6 and IPv4 address, or else every IPv4 address. */
export function candidatesOf(query: Query): Address[] {
  const { isDatagram, address, port, addressType, flags, index } = query;
  if (address !== null) return [{ isDatagram, address, port, addressType, flags: isDatagram ? flags : addressType === 6 ? flags & IPV6_ONLY : 0, index }];
  return [
    { isDatagram, address: '::', port, addressType: 6, flags: flags & IPV6_ONLY, index },
    { isDatagram, address: '0.0.0.0', port, addressType: 4, flags: 0, index },
  ];
}

/** The same for an option; `counts` numbers ports 0 of one host. @throws GracefulError `address-unavailable` */
export async function addressesOf(spec: ListenSpec, counts: Map<string, number>): Promise<Address[]> {
  if (spec.kind === 'unix') return candidatesOf({ isDatagram: false, address: spec.path, port: -1, addressType: -1, flags: 0, index: 0 });
  const isDatagram = spec.kind === 'udp';
  const key = `${spec.kind} ${spec.host}`;
  const index = spec.port === 0 ? (counts.get(key) ?? 0) : 0;
  counts.set(key, index + 1);
  if (spec.host === null) return candidatesOf({ isDatagram, address: isDatagram ? '0.0.0.0' : null, port: spec.port, addressType: 4, flags: 0, index });
  const { address, family } = isIP(spec.host) ? { address: spec.host, family: isIP(spec.host) } : await resolveHost(spec.host);
  return candidatesOf({ isDatagram, address, port: spec.port, addressType: family, flags: 0, index });
}

async function resolveHost(host: string): Promise<{ address: string; family: number }> {
  try {
    const { lookup } = await import('node:dns/promises'); // most hosts are addresses
    return await lookup(host);
  } catch (cause) {
    throw new GracefulError('address-unavailable', `cannot listen on ${host}: there is no address of that name`, { hint: 'pass an IP address', cause });
  }
}

function contains(every: Address, one: Address): boolean {
  if (plain(every) === '0.0.0.0') return one.addressType === 4;
  return plain(every) === '::' && (!isIpv6Only(every) || one.addressType === 6);
}

function isIpv6Only({ flags }: Address): boolean {
  return (flags & IPV6_ONLY) !== 0;
}

/** IPv6 addresses have several spellings. */
function plain({ address, addressType }: Address): string {
  return addressType === 6 && !address.includes('%') ? new SocketAddress({ address, family: 'ipv6' }).address : address;
}

/** As /run/app.sock and /var/run/app.sock are. */
function isSameFile(path: string, other: string): boolean {
  const [one, two] = [path, other].map((name) => (name.startsWith('/') ? statSync(name, { bigint: true, throwIfNoEntry: false }) : undefined));
  return one !== undefined && two !== undefined && one.dev === two.dev && one.ino === two.ino;
}
