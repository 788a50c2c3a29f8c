/** Addresses of listeners: what a `listen` or an option means, and which socket it may have. */
import { statSync } from 'node:fs';
import { isIP, SocketAddress } from 'node:net';
import type { ListenSpec } from '../../config/config.ts';
import { GracefulError } from '../../errors.ts';
import type { ListenQuery } from '../../protocol/worker.ts';

/** An address as somebody asked for it. */
export interface Address {
  /** IP address or absolute path. */
  readonly address: string;
  /** As asked for; 0: any. */
  readonly port: number;
  readonly addressType: number;
  readonly flags: number;
  /** Tells apart several ports 0 of one address. */
  readonly index: number;
}

/** A socket at an address. */
export interface Bound extends Address {
  readonly boundPort: number;
}

/** True if the listener is what was asked for. */
export function isSame(listener: Bound, wanted: Address): boolean {
  if (listener.address !== wanted.address || listener.addressType !== wanted.addressType || listener.flags !== wanted.flags) return false;
  return wanted.port === 0 ? listener.port === 0 && listener.index === wanted.index : listener.boundPort === wanted.port || listener.port === wanted.port;
}

/**
 * True where the kernel would refuse the wanted address because the bound one is there: it is the same, or one of them is every
 * address of a family that has the other. An IPv6 socket for every address is taken for one that takes IPv4, too, unless only IPv6 is wanted.
 */
export function conflicts(bound: Bound, wanted: Address): boolean {
  if (wanted.addressType === -1) return bound.addressType === -1 && (bound.address === wanted.address || isSameFile(bound.address, wanted.address));
  if (bound.addressType === -1 || wanted.port === 0 || bound.boundPort !== wanted.port) return false;
  if (isEqual(bound, wanted)) return true;
  return contains(bound, wanted) || contains(wanted, bound);
}

/** True for the very address, whether for IPv6 only or not. */
export function isEqual(bound: Bound, wanted: Address): boolean {
  return bound.addressType === wanted.addressType && bound.boundPort === wanted.port && plain(bound) === plain(wanted);
}

/** True if a word of a configuration names the path, or the port by its number. */
export function isNamedIn(word: string, { address, addressType, boundPort }: Bound): boolean {
  return addressType === -1 ? word.includes(address) : word.match(/\d+/g)?.includes(String(boundPort)) === true;
}

/** For people: `[::]:8080`, `unix:/run/app.sock`. */
export function describe({ address, addressType, boundPort }: Bound): string {
  if (addressType === -1) return `unix:${address.replace(/^\0/, '@')}`;
  return addressType === 6 ? `[${address}]:${boundPort}` : `${address}:${boundPort}`;
}

/** What Node would try for this query, in its order: no address means every IPv6 and IPv4 address, or else every IPv4 address. */
export function candidatesOf(query: Pick<ListenQuery, 'address' | 'port' | 'addressType' | 'flags' | 'index'>): Address[] {
  const { address, port, addressType, flags, index } = query;
  if (address !== null) return [{ address, port, addressType, flags: addressType === 6 ? flags & 1 : 0, index }];
  return [
    { address: '::', port, addressType: 6, flags: flags & 1, index },
    { address: '0.0.0.0', port, addressType: 4, flags: 0, index },
  ];
}

/** The same for an option; `counts` numbers ports 0 of one host. @throws GracefulError `address-unavailable` */
export async function addressesOf(spec: ListenSpec, counts: Map<string, number>): Promise<Address[]> {
  if (spec.kind === 'unix') return candidatesOf({ address: spec.path, port: -1, addressType: -1, flags: 0, index: 0 });
  const index = spec.port === 0 ? (counts.get(`${spec.host}`) ?? 0) : 0;
  counts.set(`${spec.host}`, index + 1);
  if (spec.host === null) return candidatesOf({ address: null, port: spec.port, addressType: 4, flags: 0, index });
  const { address, family } = isIP(spec.host) ? { address: spec.host, family: isIP(spec.host) } : await resolveHost(spec.host);
  return candidatesOf({ address, port: spec.port, addressType: family, flags: 0, index });
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
  return plain(every) === '::' && (every.flags === 0 || one.addressType === 6);
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
