/** What a TLS connection is made of in user space, and how that is written for another process: bytes, in which secrets are bytes, too. */
import type { Bounds, Direction } from './record.ts';

/** A connection that goes on elsewhere. */
export interface TlsState {
  /** Standard name of the suite. */
  readonly suite: string;
  /** From the client. */
  readonly read: Direction & { readonly bounds?: Bounds | undefined };
  /** To the client. */
  readonly write: Direction & { readonly owesUpdate?: boolean };
  readonly exporter: Buffer;
  readonly largestFragment: number;
  readonly about: Description;
}

/** What a program can ask of it. */
export interface Description {
  readonly authorized: boolean;
  readonly authorizationError?: string | undefined;
  readonly alpnProtocol: string | false | null;
  readonly servername: string | false | null;
  readonly cipher: { readonly name: string; readonly standardName: string; readonly version: string };
  readonly isReused: boolean;
  /** Certificates of the client, its own first, as DER. */
  readonly chain: readonly Buffer[];
}

const FORMAT = 1;
const LENGTH = 4;
const SECRETS = 3;

interface Header {
  readonly format: number;
  readonly suite: string;
  readonly read: { readonly sequence: number; readonly bounds?: Bounds };
  readonly write: { readonly sequence: number; readonly owesUpdate: boolean };
  readonly largestFragment: number;
  readonly certificates: number;
  readonly about: Omit<Description, 'chain'>;
}

/** The bytes hold secrets: whoever has them zeroes them. */
export function writeTlsState({ suite, read, write, exporter, largestFragment, about }: TlsState): Buffer {
  const { chain, ...rest } = about;
  const header = {
    format: FORMAT,
    suite,
    read: { sequence: read.sequence, ...(read.bounds && { bounds: read.bounds }) },
    write: { sequence: write.sequence, owesUpdate: write.owesUpdate ?? false },
    largestFragment,
    certificates: chain.length,
    about: rest,
  } satisfies Header;
  const parts = [Buffer.from(JSON.stringify(header)), read.secret, write.secret, exporter, ...chain];
  const written = Buffer.alloc(parts.reduce((sum, { length }) => sum + LENGTH + length, 0));
  let at = 0;
  for (const part of parts) {
    at = written.writeUInt32BE(part.length, at);
    at += part.copy(written, at);
  }
  return written;
}

/** @throws an error for the log if it is not what this version writes. What it returns is a copy, apart from the bytes given. */
export function readTlsState(written: Buffer): TlsState {
  const [header, ...parts] = split(written);
  const { format, suite, read, write, largestFragment, certificates, about } = JSON.parse(String(header)) as Header;
  if (format !== FORMAT) throw new TypeError(`it is written in format ${format}, and format ${FORMAT} is read here`);
  const [clientSecret, serverSecret, exporter] = parts.slice(0, SECRETS).map(apart);
  if (!clientSecret || !serverSecret || !exporter || parts.length !== SECRETS + certificates) throw new TypeError('a part of it is missing');
  return {
    suite,
    read: { ...read, secret: clientSecret },
    write: { ...write, secret: serverSecret },
    exporter,
    largestFragment,
    about: { ...about, chain: parts.slice(SECRETS).map(apart) },
  };
}

/** Zeroes what it holds of secrets. */
export function forgetTlsState({ read, write, exporter }: TlsState): void {
  for (const bytes of [read.secret, write.secret, exporter]) bytes.fill(0);
}

/** A copy that lies in no pool, and can be zeroed. */
export function apart(bytes: Uint8Array): Buffer {
  return Buffer.alloc(bytes.length, bytes);
}

function split(written: Buffer): Buffer[] {
  const parts: Buffer[] = [];
  for (let at = 0; at < written.length; ) {
    const end = written.length - at < LENGTH ? Number.NaN : at + LENGTH + written.readUInt32BE(at);
    if (!(end <= written.length)) throw new TypeError('it ends in the middle of a part');
    parts.push(written.subarray(at + LENGTH, end));
    at = end;
  }
  return parts;
}
