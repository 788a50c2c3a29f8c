/**
 * How many records a native TLS 1.3 connection has sent and received, which neither Node nor OpenSSL tells: counted from the bytes above and below OpenSSL. Pure
 * arithmetic, and the place where "never too low" is decided; docs/handoff.md has the whole argument.
 *
 * Each record costs 22 bytes more than its plaintext (header 5, content type 1, tag 16), in each suite that moves. So of the bytes that were sent under the
 * application keys, less the plaintext and less the session tickets that OpenSSL sends by itself, a 22nd is the number of the other records. Whatever else OpenSSL
 * may have sent raises the result or leaves a remainder: it is never too low, and only too low a number would repeat a nonce. Too high a one ends the connection.
 */

/** What a record costs besides its plaintext. */
export const OVERHEAD = 22;
/** Nor does a client's fragment, RFC 6066 §4, get smaller than this. */
export const SMALLEST_FRAGMENT = 512;
const LARGEST_FRAGMENT = 16_384;
/** A ticket's record: OVERHEAD + 25 + the ticket, whose length is a multiple of 16 and at least this (OpenSSL: 16 name, 16 IV, ciphertext, 32 MAC; or an id of 32). */
const TICKET_RECORD = OVERHEAD + 25;
const SMALLEST_TICKET = 32;
const BLOCK = 16;
/** OpenSSL sends two to a new client, one where a key was shared before, none where a session is resumed. */
const MOST_TICKETS = 2;
/** Frames of HTTP/2 have a header of so many bytes, and each write has one of them at least. */
const FRAME = 9;
/** The same remainder comes again behind so many records. */
const PERIOD = 8;

/** The second flight of a client without certificate: Finished, behind a change_cipher_spec or not. By length of the suite's hash. */
const FLIGHTS: Readonly<Record<number, readonly number[]>> = { 32: [58, 64], 48: [74, 80] };

/** Session tickets: how many records, in how many bytes. */
export interface Tickets {
  readonly records: number;
  readonly bytes: number;
}

/**
 * Tickets in so many bytes that hold nothing else. Their number shows in the remainder of 16, and would show again only with eight fragments more, which the limit
 * excludes. `largest` is the largest fragment. @returns undefined: these are no tickets as OpenSSL makes them
 */
export function ticketsIn(bytes: number, largest: number): Tickets | undefined {
  const records = (BLOCK - (bytes % BLOCK)) % BLOCK;
  if (!Number.isInteger(bytes) || records > MOST_TICKETS || bytes > PERIOD * largest) return undefined;
  return records === 0 ? (bytes === 0 ? { records, bytes } : undefined) : bytes >= records * (TICKET_RECORD + SMALLEST_TICKET) ? { records, bytes } : undefined;
}

/**
 * Tickets among the first few frames of HTTP/2, which OpenSSL was given `plain` bytes of. `overhead`: what was sealed, less the plaintext. With less
 * plaintext than eight frames take, the remainder of 16 says how many records they are. Never more than was sealed; should it be less, the tickets come out too few, in a
 * number too high, or with a remainder: to come out as too many by whole records takes eight of those. @returns undefined: it can't be told
 */
export function ticketsAmongFrames(overhead: number, plain: number, largest: number): Tickets | undefined {
  const most = Math.floor(plain / FRAME);
  // fragments of tickets and frames together are fewer than a period
  if (most >= PERIOD || overhead > (PERIOD - most) * largest) return undefined;
  const found = Array.from({ length: most + 1 }, (_, frames) => ticketsIn(overhead - OVERHEAD * frames, largest)).filter((tickets) => tickets !== undefined);
  return found.length === 1 ? found[0] : undefined;
}

/**
 * The number of the next record to the client. `overhead` is what was sent under the application keys less the plaintext, read when all of that was sealed and
 * sent: plaintext that is counted, but not sealed yet, would make the number too low. @returns undefined: something that is not known was sent
 */
export function countWritten(overhead: number, tickets: Tickets): number | undefined {
  const records = (overhead - tickets.bytes) / OVERHEAD;
  return Number.isInteger(records) && records >= 0 ? tickets.records + records : undefined;
}

/** What has come from a client since its hello. */
export interface Incoming {
  /** All of it, and the plaintext in it. */
  readonly bytes: number;
  readonly plain: number;
  readonly hashLength: number;
  /** Its second flight ends here at the latest; it holds a certificate. */
  readonly flightWithCertificate: number | undefined;
  /** Remainder of 22 between two records, where that is known. */
  readonly residue: number | undefined;
}

/** A number of which the first record proves whether it is right; otherwise it is within the bounds. */
export interface CountedRead {
  readonly sequence: number;
  readonly bounds: { readonly lowest: number; readonly highest: number };
}

/** The number of the next record from the client. Too low or too high, it harms nobody: nothing is sealed with it. @returns undefined: a record has come in part */
export function countRead({ bytes, plain, hashLength, flightWithCertificate, residue }: Incoming): CountedRead | undefined {
  const overhead = bytes - plain;
  const bounds = { lowest: Math.ceil(plain / LARGEST_FRAGMENT), highest: Math.floor(overhead / OVERHEAD) };
  if (flightWithCertificate === undefined) {
    const counts = (FLIGHTS[hashLength] ?? []).map((flight) => (overhead - flight) / OVERHEAD);
    const sequence = counts.find((count) => Number.isInteger(count) && count >= bounds.lowest);
    return sequence === undefined ? undefined : { sequence, bounds };
  }
  if (residue === undefined || overhead % OVERHEAD !== residue) return undefined;
  return { sequence: Math.max(bounds.lowest, Math.round((overhead - flightWithCertificate) / OVERHEAD)), bounds };
}

/**
 * The largest fragment that a client accepts, from a session as OpenSSL writes it (ASN.1): [17] is the code of RFC 6066. @returns undefined: it can't be read
 */
export function largestFragmentIn(session: Buffer): number | undefined {
  let largest: number = LARGEST_FRAGMENT;
  let at = valueAt(session, 1)?.from ?? session.length;
  while (at < session.length) {
    const value = valueAt(session, at + 1);
    if (value === undefined || value.to > session.length) return undefined;
    const code = session[at] === 0xb1 ? session[value.to - 1] : 0;
    if (code !== undefined && code > 0) largest = code <= 4 ? SMALLEST_FRAGMENT << (code - 1) : Number.NaN;
    at = value.to;
  }
  return at === session.length && largest > 0 && session.length > 0 ? largest : undefined;
}

function valueAt(session: Buffer, at: number): { readonly from: number; readonly to: number } | undefined {
  const first = session[at];
  if (first === undefined) return undefined;
  const more = first & 0x80 ? first & 0x7f : 0;
  if (more > 4 || at + 1 + more > session.length) return undefined;
  const length = more === 0 ? first : session.readUIntBE(at + 1, more);
  return { from: at + 1 + more, to: at + 1 + more + length };
}
