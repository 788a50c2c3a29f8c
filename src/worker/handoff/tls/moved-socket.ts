/**
 * A TLS connection that goes on in JavaScript. The socket that was received for it becomes an encrypted one: to the program a `tls.TLSSocket`, to Node a `net.Socket` on
 * its own handle, so that timeouts, back-pressure, half-close and all bookkeeping are Node's, and there is one layer of streams. What the handle reads arrives in
 * `push`, what is written leaves by `_write`; between the two and the wire stands the record layer.
 *
 * Undocumented, each tried on 20.20, 22.23, 24.21, 26.10:
 * - A socket's handle delivers by `socket.push`, and gets what `_write` and `_writev` of `net.Socket` are given. Otherwise: the self-test fails.
 * - `handle.isStreamBase`: tells an HTTP parser, or an HTTP/2 session, that it may read the handle past the socket; that is denied. Otherwise: the same.
 */
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { ALERTS, TlsFault } from './alerts.ts';
import { certificateAt, certificatesOf } from './certificates.ts';
import { Conversation } from './conversation.ts';
import { exportKeyingMaterial, type Suite, suiteOf } from './keys.ts';
import { ALERT, RecordReader, RecordWriter } from './record.ts';
import { apart, type Description, type TlsState } from './tls-state.ts';

/** What a moved connection is besides a socket. Not a property: programs print their sockets. */
interface Session {
  readonly conversation: Conversation;
  readonly suite: Suite;
  readonly exporter: Buffer;
  readonly largestFragment: number;
  readonly about: Description;
  /** Plaintext. */
  bytesRead: number;
  bytesWritten: number;
  /** What was written before the connection was known to stay; undefined: it is. */
  held: (() => void)[] | undefined;
  /** The client has said that it will send nothing more. */
  hasEnded: boolean;
  /** Nothing is said any more. */
  hasFailed: boolean;
}

type Written = (error?: Error | null) => void;
type Chunk = { readonly chunk: string | Buffer; readonly encoding: BufferEncoding };

const WARNING = 1;
const FATAL = 2;

/** Node's own, on the handle. */
const below: TLSSocket = TLSSocket.prototype;
const sessions = new WeakMap<Socket, Session>();

/** The connection has moved once at least: it speaks TLS in JavaScript. */
export function isMoved(socket: Socket): socket is MovedTlsSocket {
  return sessions.has(socket);
}

/**
 * Lets a connection go on, over the socket that was received for it. Only for whoever has its ticket: this makes the one writer that there is. Nothing is sent
 * before `settle`; until then the connection may still be someone else's. The state's secrets are used up.
 * @returns the same socket @throws an error for the log if it can't be
 */
export function openMoved(socket: Socket, state: TlsState): MovedTlsSocket {
  const suite = suiteOf(state.suite);
  if (suite === undefined) throw new TypeError(`the suite ${state.suite} is not known here`);
  const reader = new RecordReader(suite, { ...state.read, secret: take(state.read.secret) }, state.largestFragment);
  const writer = new RecordWriter(suite, { ...state.write, secret: take(state.write.secret) }, state.largestFragment);
  sessions.set(socket, {
    conversation: new Conversation(reader, writer),
    suite,
    exporter: take(state.exporter),
    largestFragment: state.largestFragment,
    about: state.about,
    bytesRead: 0,
    bytesWritten: 0,
    held: [],
    hasEnded: false,
    hasFailed: false,
  });
  const { authorized, authorizationError, alpnProtocol, servername } = state.about;
  Object.setPrototypeOf(socket, MovedTlsSocket.prototype);
  Object.assign(socket, { encrypted: true, authorized, authorizationError: authorizationError ?? null, alpnProtocol, servername, secureConnecting: false });
  hideHandle(socket, true);
  return socket as MovedTlsSocket;
}

/** The connection stays here: what was written to it meanwhile goes out. */
export function settle(socket: MovedTlsSocket): void {
  const session = sessions.get(socket);
  const held = session?.held ?? [];
  if (session) session.held = undefined;
  for (const write of held) write();
}

/**
 * The state of a connection that may leave again: both numbers are known, none has to be counted. The secrets are copies.
 * @returns undefined: it is busy, or ending, or a record of it has come in part
 */
export function stateOf(socket: MovedTlsSocket): TlsState | undefined {
  const session = sessions.get(socket);
  if (session === undefined || session.held || session.hasEnded || session.hasFailed) return undefined;
  if (socket.destroyed || socket.readableEnded || socket.writableEnded || socket.readableLength > 0 || socket.writableLength > 0) return undefined;
  const { conversation, exporter, largestFragment, about } = session;
  if (conversation.isHalfHeard) return undefined;
  const { reader, writer } = conversation;
  return {
    suite: about.cipher.standardName,
    read: { secret: apart(reader.secret), sequence: reader.sequence, bounds: reader.bounds },
    write: { secret: apart(writer.secret), sequence: writer.sequence, owesUpdate: writer.owesUpdate },
    exporter: apart(exporter),
    largestFragment,
    about,
  };
}

/**
 * The socket speaks no more, and what `settle` would have sent is dropped: its handle is taken right after this, and there must never be a writer beside an
 * offer.
 */
export function silence(socket: MovedTlsSocket): void {
  const session = sessions.get(socket);
  if (session === undefined) return;
  session.hasFailed = true;
  session.held = undefined;
  forgetSession(session);
  hideHandle(socket, false);
}

function take(secret: Buffer): Buffer {
  const taken = apart(secret);
  secret.fill(0);
  return taken;
}

function forgetSession({ conversation, exporter }: Session): void {
  conversation.forget();
  exporter.fill(0);
}

/** From whoever would read or write it past the socket. */
function hideHandle(socket: Socket, isHidden: boolean): void {
  const { _handle: handle } = socket as unknown as { readonly _handle: object | null };
  if (handle && isHidden) Object.defineProperty(handle, 'isStreamBase', { value: false, configurable: true });
  else if (handle) Reflect.deleteProperty(handle, 'isStreamBase');
}

function sessionOf(socket: Socket): Session {
  const session = sessions.get(socket);
  if (session === undefined) throw new TypeError('this is no connection that has moved');
  return session;
}

/** Never constructed: a socket becomes one in `openMoved`. */
export class MovedTlsSocket extends TLSSocket {
  /** What the handle has read; null: its end. */
  override push(bytes: Buffer | null): boolean {
    const session = sessionOf(this);
    if (session.hasEnded || session.hasFailed) return true;
    if (bytes === null) return end(this, session);
    try {
      session.conversation.feed(bytes);
      return deliver(this, session);
    } catch (error) {
      if (!(error instanceof TlsFault)) throw error;
      fail(this, session, error);
      return true;
    }
  }

  override _write(chunk: string | Buffer, encoding: BufferEncoding, done: Written): void {
    const { held } = sessionOf(this);
    if (held) held.push(() => this._write(chunk, encoding, done));
    else send(this, typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk, done);
  }

  override _writev(chunks: Chunk[], done: Written): void {
    const { held } = sessionOf(this);
    if (held) held.push(() => this._writev(chunks, done));
    else send(this, gather(chunks), done);
  }

  override _final(done: Written): void {
    const session = sessionOf(this);
    if (session.held) return void session.held.push(() => this._final(done));
    if (session.hasFailed) return super._final(done);
    const notice = session.conversation.writer.sealRecord(ALERT, Buffer.of(WARNING, ALERTS.closeNotify));
    write(this, notice, (error) => (error ? done(error) : super._final(done)));
  }

  override _destroy(error: Error | null, done: Written): void {
    const session = sessionOf(this);
    session.hasFailed = true;
    forgetSession(session);
    super._destroy(error, done);
  }

  // --- what a program asks

  override getProtocol(): string {
    return 'TLSv1.3';
  }

  override getCipher(): Description['cipher'] {
    return { ...sessionOf(this).about.cipher };
  }

  override isSessionReused(): boolean {
    return sessionOf(this).about.isReused;
  }

  override getPeerX509Certificate(): ReturnType<TLSSocket['getPeerX509Certificate']> {
    return certificateAt(sessionOf(this).about.chain, 0);
  }

  override getPeerCertificate(isDetailed?: boolean): never {
    return certificatesOf(sessionOf(this).about.chain, isDetailed === true) as never;
  }

  override exportKeyingMaterial(length: number, label: string, context?: Buffer): Buffer<ArrayBuffer> {
    const { suite, exporter } = sessionOf(this);
    if (this.destroyed) throw Object.assign(new Error('TLS socket connection must be securely established'), { code: 'ERR_TLS_INVALID_STATE' });
    return exportKeyingMaterial(suite, exporter, length, label, context);
  }

  // --- what only OpenSSL knew

  override getSession(): undefined {}
  override getTLSTicket(): undefined {}
  override getFinished(): undefined {}
  override getPeerFinished(): undefined {}
  override getSharedSigalgs(): string[] {
    return [];
  }
  override getEphemeralKeyInfo(): null {
    return null;
  }
  override getCertificate(): object {
    return {};
  }
  override getX509Certificate(): undefined {}
  override enableTrace(): void {}
  override disableRenegotiation(): void {}
  override renegotiate(): undefined {}
  override setMaxSendFragment(): boolean {
    return false;
  }
  override setKeyCert(): void {}
}

/** Node counts on the handle, which knows records only. */
Object.defineProperties(MovedTlsSocket.prototype, {
  bytesRead: {
    configurable: true,
    get: function (this: MovedTlsSocket) {
      return sessionOf(this).bytesRead;
    },
  },
  bytesWritten: {
    configurable: true,
    get: function (this: MovedTlsSocket) {
      return sessionOf(this).bytesWritten + this.writableLength;
    },
  },
});

/** A record's number is taken when it is sealed, and it goes to the handle in the same tick: the order of numbers is the order on the wire. */
function send(socket: MovedTlsSocket, bytes: Buffer, done: Written): void {
  const session = sessionOf(socket);
  if (session.hasFailed) return done(Object.assign(new Error('Socket is closed'), { code: 'ERR_SOCKET_CLOSED' }));
  if (bytes.length === 0) return write(socket, bytes, done);
  session.bytesWritten += bytes.length;
  const records = session.conversation.writer.sealData(bytes);
  if (records.length === 1) return write(socket, records[0] as Buffer, done);
  const chunks = records.map((chunk) => ({ chunk, encoding: 'buffer' as BufferEncoding }));
  below._writev?.call(socket, Object.assign(chunks, { allBuffers: true }), done);
}

function write(socket: MovedTlsSocket, record: Buffer, done: Written): void {
  below._write.call(socket, record, 'buffer' as BufferEncoding, done);
}

function deliver(socket: MovedTlsSocket, session: Session): boolean {
  let wantsMore = true;
  for (let data = session.conversation.next(); data !== undefined; data = session.conversation.next()) {
    if (data === null) return end(socket, session);
    session.bytesRead += data.length;
    wantsMore = below.push.call(socket, data);
    if (session.hasFailed) return true; // a listener has destroyed it, or it has moved: its handle is somebody else's
  }
  return wantsMore;
}

/** Whatever comes behind it is not for the program. Reading goes on, to see the end of the connection. */
function end(socket: MovedTlsSocket, session: Session): boolean {
  session.hasEnded = true;
  below.push.call(socket, null);
  socket.read(0);
  return true;
}

function fail(socket: MovedTlsSocket, session: Session, error: TlsFault): void {
  session.hasFailed = true;
  if (error.alert === undefined) return void socket.destroy(error);
  write(socket, session.conversation.writer.sealRecord(ALERT, Buffer.of(FATAL, error.alert)), () => void socket.destroy(error));
}

function gather(chunks: readonly Chunk[]): Buffer {
  const sizes = chunks.map(({ chunk, encoding }) => (typeof chunk === 'string' ? Buffer.byteLength(chunk, encoding) : chunk.length));
  const bytes = Buffer.allocUnsafe(sizes.reduce((sum, size) => sum + size, 0));
  let at = 0;
  for (const [index, { chunk, encoding }] of chunks.entries()) {
    if (typeof chunk === 'string') bytes.write(chunk, at, encoding);
    else bytes.set(chunk, at);
    at += sizes[index] as number;
  }
  return bytes;
}
