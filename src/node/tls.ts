/**
 * Native TLS 1.3 connections that can go on elsewhere: what has to be noted of each from its handshake on, how it is captured, and how its handle is taken from
 * below OpenSSL. Which records went which way is counted in `tls-count.ts`.
 *
 * Undocumented, each tried on 20.20, 22.23, 24.21, 26.10 (OpenSSL 3.0.19 and 3.5.8):
 * - `tlsSocket._handle` (the TLSWrap), its `_parent` (the handle below) and `_parentWrap` (the socket below): `bytesRead`, `bytesWritten`, `writeQueueSize` of both
 *   handles. Plaintext is counted above and records below, both when a write begins; what OpenSSL has sealed and the kernel has not got yet is the queue above. Missing: connections stay.
 * - `keylog` (documented) is called from inside OpenSSL, in this order: the handshake secrets, EXPORTER_SECRET and SERVER_TRAFFIC_SECRET_0 in the turn in which the
 *   hello is read, before anything is sent; CLIENT_TRAFFIC_SECRET_0 when the client's Finished is read, before tickets are made. Otherwise: what is counted is no integer, or the self-test fails.
 * - `tlsSocket._writeGeneric`: every write of a program goes through it, so the first one can be looked at. Missing: the tickets are not counted, connections stay.
 * - `tlsWrap.close`: called when a connection ends, whoever removes listeners; secrets are zeroed then. Missing: they are gone with the socket.
 * - `tlsWrap.destroySSL`: frees OpenSSL's state and its keys, and says nothing to the client. `handle.reading` is tied to the TLSWrap, and has to be a plain property
 *   again, or its next socket throws. Missing: connections stay.
 * - `server._sharedCreds`: the context that a server was made with. Missing: it is not part of the self-test.
 */
import type { Server, Socket } from 'node:net';
import type { SecureContext, TLSSocket } from 'node:tls';
import type { ConnectionHandle } from './connection.ts';
import {
  type CountedRead,
  countRead,
  countWritten,
  largestFragmentIn,
  OVERHEAD,
  SMALLEST_FRAGMENT,
  type Tickets,
  ticketsAmongFrames,
  ticketsIn,
} from './tls-count.ts';

interface Counted extends ConnectionHandle {
  readonly bytesRead?: number;
  readonly bytesWritten?: number;
  readonly writeQueueSize?: number;
}

interface TlsWrap extends Counted {
  readonly _parent?: Counted | null;
  readonly _parentWrap?: InternalSocket | null;
  destroySSL?(): void;
}

interface InternalSocket extends Socket {
  _handle: Counted | null;
}

interface InternalTls {
  _handle: TlsWrap | null;
  ssl: TlsWrap | null;
  _requestCert?: boolean;
  _writeGeneric(...args: unknown[]): unknown;
}

/** Bytes above and below OpenSSL, both ways. `sealed`: records that lie in OpenSSL's buffer, those that are being sent among them. */
interface Counters {
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly plainIn: number;
  readonly plainOut: number;
  readonly sealed: number;
  readonly unsent: number;
}

/** What is known of a connection: three secrets, one behind the other, and a few numbers. */
interface Known {
  readonly secrets: Buffer;
  readonly secretLength: number;
  /** When the hello was read, and nothing of the client's second flight. */
  helloIn: number;
  /** When the client's Finished was read. */
  finishedIn: number;
  /** Sent by then: nothing of it under the application keys. Below 0: it is not known. */
  sentBefore: number;
  /** Bytes that are tickets; undefined: not known yet. */
  ticketBytes: number | undefined;
  /** What the program has written before tickets were made: records, and their plaintext. Below 0 records: they can't be counted. */
  greetings: number;
  greetingBytes: number;
  residue: number | undefined;
  /** `bytesIn` when somebody last looked. */
  seenIn: number;
  /** At so many looks in a row, each with something new, no record lay in OpenSSL in part, as far as can be told. */
  wholeLooks: number;
}

/** Of one connection: copies, to be zeroed when they were used. */
export interface Captured {
  readonly clientSecret: Buffer;
  readonly serverSecret: Buffer;
  readonly exporter: Buffer;
  readonly read: CountedRead;
  /** Number of the next record to the client. */
  readonly written: number;
  readonly largestFragment: number;
}

/** Why a connection stays. */
export interface Not {
  readonly not: string;
  readonly isFinal: boolean;
  /** It is looked at again a moment later, and need not be told. */
  readonly isMomentary?: boolean;
}

const EXPORTER = 0;
const SERVER = 1;
const CLIENT = 2;
const SPACE = 32;
const NEWLINE = 10;
const MOST_GREETINGS = 4;
/** Whoever sends so long records, or so slowly, that they are met in part was met so before: 21 of 22 parts show. */
const ENOUGH_LOOKS = 4;

const known = new WeakMap<object, Known>();

/** Notes secrets and numbers of connections whose handshake begins from now on. Nothing is done per request. */
export function observe(server: Server): void {
  server.prependListener('keylog', note);
  if ('updateSettings' in server) server.on('session', lookAtFirstStream);
}

/** The same for one that no server has accepted. */
export function observeOne(socket: TLSSocket): void {
  socket.on('keylog', (line) => note(line, socket));
}

/** What a server shows its clients, unless they name another host. */
export function contextOf(server: Server): SecureContext | undefined {
  return (server as { readonly _sharedCreds?: SecureContext })._sharedCreds;
}

function note(line: Buffer, socket: TLSSocket): void {
  const end = line.indexOf(SPACE);
  const which = ['EXPORTER_SECRET', 'SERVER_TRAFFIC_SECRET_0', 'CLIENT_TRAFFIC_SECRET_0'].indexOf(line.toString('latin1', 0, end));
  const wrap = wrapOf(socket);
  const now = wrap && countersOf(wrap);
  if (which < 0 || wrap === undefined || now === undefined) return;
  const from = line.lastIndexOf(SPACE) + 1;
  const length = ((line[line.length - 1] === NEWLINE ? line.length - 1 : line.length) - from) / 2;
  const it = known.get(wrap) ?? begin(wrap, length);
  if (it.secretLength !== length) return;
  for (let at = 0; at < length; at++) it.secrets[which * length + at] = (nibble(line[from + 2 * at]) << 4) | nibble(line[from + 2 * at + 1]);
  if (which === SERVER) it.helloIn = now.bytesIn;
  if (which !== CLIENT) return;
  it.finishedIn = now.bytesIn;
  // records of the handshake that wait here would be taken for tickets
  it.sentBefore = now.sealed === 0 && now.plainOut === 0 ? now.bytesOut : -1;
  (socket as unknown as InternalTls)._writeGeneric = writeFirst;
}

/** Digits to bytes without a string in between: strings show in heap snapshots, the contents of Buffers don't. */
function nibble(code: number | undefined): number {
  return code === undefined ? 0 : code < 58 ? code - 48 : (code | 32) - 87;
}

/** One Buffer a connection, in memory of its own. */
function begin(wrap: TlsWrap, secretLength: number): Known {
  const it: Known = {
    secrets: Buffer.alloc(3 * secretLength),
    secretLength,
    helloIn: -1,
    finishedIn: -1,
    sentBefore: -1,
    ticketBytes: undefined,
    greetings: 0,
    greetingBytes: 0,
    residue: undefined,
    seenIn: -1,
    wholeLooks: 0,
  };
  known.set(wrap, it);
  wrap.close = closeAndForget;
  return it;
}

function closeAndForget(this: TlsWrap, callback?: () => void): void {
  forget(this);
  Reflect.deleteProperty(this, 'close');
  this.close(callback);
}

function forget(wrap: TlsWrap): void {
  known.get(wrap)?.secrets.fill(0);
  known.delete(wrap);
}

/**
 * In place of the first write of a program: whatever was sealed before it are tickets. One that greets, in a listener of `secureConnection`, writes before they are
 * made; up to 512 bytes are one record then, however small the client's fragments.
 */
function writeFirst(this: InternalTls, ...args: unknown[]): unknown {
  const wrap = this._handle;
  const it = wrap ? known.get(wrap) : undefined;
  const now = wrap ? countersOf(wrap) : undefined;
  if (it && now) lookAtTickets(it, now);
  if (!it || !now || it.ticketBytes !== undefined || it.greetings < 0) {
    Reflect.deleteProperty(this, '_writeGeneric');
    return this._writeGeneric(...args);
  }
  const result = Reflect.apply((Object.getPrototypeOf(this) as InternalTls)._writeGeneric, this, args);
  const length = (this._handle?.bytesWritten ?? Number.NaN) - now.plainOut;
  it.greetingBytes += length;
  if (length > 0) it.greetings++;
  if (!(length <= SMALLEST_FRAGMENT) || it.greetings > MOST_GREETINGS) it.greetings = -1;
  return result;
}

function lookAtTickets(it: Known, now: Counters): void {
  if (now.plainIn > 0) it.residue ??= (now.bytesIn - it.helloIn - now.plainIn) % OVERHEAD; // it waits for an answer, so no record has come in part
  if (now.plainOut !== it.greetingBytes) it.greetings = -1; // somebody wrote past this
  if (it.greetings === 0) {
    // until the next turn of the loop, what is being sent is counted in both; too few bytes would make the number too high
    const bytes = Math.max(now.bytesOut - it.sentBefore, now.sealed);
    if (bytes > 0 || now.plainIn > 0) it.ticketBytes = bytes;
  } else if (it.greetings > 0 && now.unsent === 0) {
    const bytes = now.bytesOut - it.sentBefore - now.plainOut - OVERHEAD * it.greetings;
    if (bytes > 0) it.ticketBytes = bytes;
  }
}

/** A session writes past the socket. When its first stream opens it has sent hardly more than its settings. */
function lookAtFirstStream(session: { readonly socket: Socket; prependOnceListener(event: 'stream', listener: () => void): void }): void {
  session.prependOnceListener('stream', lookAtFrames);
}

function lookAtFrames(this: unknown): void {
  const { socket } = this as { readonly socket: TLSSocket };
  const wrap = wrapOf(socket);
  const it = wrap && known.get(wrap);
  const now = wrap && countersOf(wrap);
  if (it && now) it.ticketBytes ??= ticketsOfSession(it, now, largestFragmentOf(socket) ?? 0)?.bytes;
}

/**
 * Until the next turn of the loop, what is being sent is counted on both sides of the queue. The larger of the two is never more than what was sealed, and less is harmless: see
 * `ticketsAmongFrames`.
 */
function ticketsOfSession(it: Known, now: Counters, largest: number): Tickets | undefined {
  const bytes = Math.max(now.bytesOut - it.sentBefore, now.sealed);
  return it.sentBefore >= 0 ? ticketsAmongFrames(bytes - now.plainOut, now.plainOut, largest) : undefined;
}

/**
 * Looks at a connection, and does not touch it. Exactly 22 bytes of a record can't be told from the cost of a whole one, but are mostly followed by the rest. So it is told as capable of
 * leaving only if nothing has come since the last look, by this or `look`; or, of one that is never silent for long, if all was whole at the last few looks.
 */
export function capture(socket: TLSSocket): Captured | Not {
  const wrap = wrapOf(socket);
  const it = wrap && known.get(wrap);
  const now = wrap && countersOf(wrap);
  if (!wrap || !now || !canLeave(wrap)) return { not: 'this version of Node can not take it from below TLS', isFinal: true };
  if (!it || it.finishedIn < 0 || it.helloIn < 0) return { not: 'its secrets are not known, as of TLS 1.2', isFinal: true };
  if (socket.getProtocol() !== 'TLSv1.3') return { not: 'it does not speak TLS 1.3', isFinal: true };
  if (it.sentBefore < 0) return { not: 'its handshake was still being sent when the client ended it', isFinal: true };
  const read = readBy(socket, it, now);
  const hasWaited = it.seenIn === now.bytesIn;
  if (!hasWaited) it.wholeLooks = read === undefined ? 0 : it.wholeLooks + 1;
  it.seenIn = now.bytesIn;
  // counted when every write has called back: plaintext that is counted, and not sealed yet, would make the number too low
  if (!isQuiet(socket) || now.unsent > 0) return { not: 'it is busy', isFinal: false, isMomentary: true };
  if (!hasWaited && it.wholeLooks < ENOUGH_LOOKS) return { not: 'something has come since it was looked at', isFinal: false, isMomentary: true };
  if (read === undefined) return { not: 'a record of it has come in part, or its client does what is not expected', isFinal: false };
  return count(socket, it, { ...now, read });
}

/** Notes what has come so far. */
export function look(socket: TLSSocket): void {
  const wrap = wrapOf(socket);
  const it = wrap && known.get(wrap);
  if (it) it.seenIn = wrap?._parent?.bytesRead ?? -1;
}

function readBy(socket: TLSSocket, it: Known, now: Counters): CountedRead | undefined {
  const flightWithCertificate = (socket as unknown as InternalTls)._requestCert ? it.finishedIn - it.helloIn : undefined;
  return countRead({ bytes: now.bytesIn - it.helloIn, plain: now.plainIn, hashLength: it.secretLength, flightWithCertificate, residue: it.residue });
}

function count(socket: TLSSocket, it: Known, now: Counters & { readonly read: CountedRead }): Captured | Not {
  const largestFragment = largestFragmentOf(socket);
  if (largestFragment === undefined) return { not: 'its largest fragment is not known', isFinal: true };
  const tickets = ticketsOf(socket, it, now, largestFragment);
  if (tickets === undefined) return { not: 'its session tickets could not be counted', isFinal: true };
  const written = countWritten(now.bytesOut - it.sentBefore - now.plainOut, tickets);
  if (written === undefined) return { not: 'the records that it was sent could not be counted', isFinal: true };
  const secret = (which: number) => Buffer.alloc(it.secretLength, it.secrets.subarray(which * it.secretLength, (which + 1) * it.secretLength));
  return { clientSecret: secret(CLIENT), serverSecret: secret(SERVER), exporter: secret(EXPORTER), read: now.read, written, largestFragment };
}

function ticketsOf(socket: TLSSocket, it: Known, now: Counters, largest: number): Tickets | undefined {
  if (it.ticketBytes === undefined && socket.alpnProtocol === 'h2') return ticketsOfSession(it, now, largest);
  // nothing but greetings was written, and everything is sent
  const isGreeted = it.greetings >= 0 && now.plainOut === it.greetingBytes;
  const bytes = it.ticketBytes ?? (isGreeted ? now.bytesOut - it.sentBefore - now.plainOut - OVERHEAD * it.greetings : undefined);
  return bytes === undefined ? undefined : ticketsIn(bytes, largest);
}

function largestFragmentOf(socket: TLSSocket): number | undefined {
  const session = socket.getSession();
  if (!session) return undefined;
  const largest = largestFragmentIn(session);
  session.fill(0); // it holds the secret of tickets
  return largest;
}

function isQuiet(socket: TLSSocket): boolean {
  const isOpen = !socket.destroyed && !socket.errored && !socket.readableEnded && !socket.writableEnded;
  return isOpen && socket.readableLength === 0 && socket.writableLength === 0;
}

/**
 * Takes the handle from below a connection, in the tick of `capture`. Nothing is sent: no alert, no FIN. The socket stays as it is, without a connection, until it is
 * destroyed; the one below it goes with it.
 */
export function detach(socket: TLSSocket): ConnectionHandle {
  const internal = socket as unknown as InternalTls;
  const wrap = internal._handle as TlsWrap;
  const handle = wrap._parent as Counted;
  const raw = wrap._parentWrap;
  handle.readStop?.();
  Object.defineProperty(handle, 'reading', { value: false, writable: true, enumerable: true, configurable: true });
  socket.on('data', ignore).off('data', ignore); // an HTTP parser that reads from the handle directly lets go of it
  void socket.remoteAddress; // is remembered by being asked for: the program may log it later
  internal._handle = null;
  internal.ssl = null;
  if (raw) raw._handle = null;
  if (raw) socket.once('close', () => raw.destroy());
  forget(wrap);
  Reflect.deleteProperty(internal, '_writeGeneric');
  wrap.destroySSL?.(); // from here on nobody in this process can write
  return handle;
}

function canLeave({ destroySSL, _parent, _parentWrap }: TlsWrap): boolean {
  return typeof destroySSL === 'function' && typeof _parent?.readStop === 'function' && _parentWrap?._handle === _parent;
}

function wrapOf(socket: Socket): TlsWrap | undefined {
  const wrap = (socket as unknown as InternalTls)._handle;
  return wrap?._parent ? wrap : undefined;
}

/** undefined: this Node has not got all of them. */
function countersOf(wrap: TlsWrap): Counters | undefined {
  const { bytesRead: bytesIn, bytesWritten: bytesOut, writeQueueSize: queued } = wrap._parent ?? {};
  const { bytesRead: plainIn, bytesWritten: plainOut, writeQueueSize: sealed } = wrap;
  if (bytesIn === undefined || bytesOut === undefined || queued === undefined) return undefined;
  if (plainIn === undefined || plainOut === undefined || sealed === undefined) return undefined;
  return { bytesIn, bytesOut, plainIn, plainOut, sealed, unsent: sealed + queued };
}

function ignore(): void {}
