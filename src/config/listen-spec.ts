/** The grammar of `--listen`: `[HOST:]PORT`, `udp:[HOST:]PORT` or `unix:/path`, each with `,name=NAME` and, for a path, `,mode=OCTAL`. */
import { isIP } from 'node:net';

/** An address to hold. `host: null` is every address, IPv6 and IPv4 alike; for UDP, where a socket is of one family, every IPv4 address. */
export type ListenSpec = { readonly name: string | null } & (
  | { readonly kind: 'tcp' | 'udp'; readonly host: string | null; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string; readonly mode: number | null }
);

/** Reads one address; undefined where it is none. A host is an IP address, a name, or `*`. */
export function parseListenSpec(text: string): ListenSpec | undefined {
  let name: string | null = null;
  let mode: number | null = null;
  const addresses: string[] = [];
  for (const part of text.split(',')) {
    const [, key, value = ''] = /^(name|mode)=(.*)$/.exec(part) ?? [];
    if (key === 'name' && /^[\w.-]{1,64}$/.test(value)) name = value;
    else if (key === 'mode' && /^0?[0-7]{3}$/.test(value)) mode = Number.parseInt(value, 8);
    else if (key === undefined) addresses.push(part);
    else return undefined;
  }
  const [address, ...more] = addresses;
  if (address === undefined || more.length > 0) return undefined;
  const path = /^unix:(\/.+)$/.exec(address)?.[1];
  if (path !== undefined) return { kind: 'unix', name, path, mode };
  if (mode !== null) return undefined;
  return address.startsWith('udp:') ? parseHostPort('udp', address.slice(4), name) : parseHostPort('tcp', address, name);
}

function parseHostPort(kind: 'tcp' | 'udp', address: string, name: string | null): ListenSpec | undefined {
  const [, bracketed, plain, digits] = /^(?:(?:\[([^\]]+)\]|([^:[\]]*)):)?(\d{1,5})$/.exec(address) ?? [];
  const port = Number(digits);
  if (digits === undefined || port > 65535) return undefined;
  if (bracketed !== undefined) return isIP(bracketed) === 6 ? { kind, name, host: bracketed, port } : undefined;
  if (plain === undefined || plain === '' || plain === '*') return { kind, name, host: null, port };
  return /^[\w.-]+$/.test(plain) ? { kind, name, host: plain, port } : undefined;
}
