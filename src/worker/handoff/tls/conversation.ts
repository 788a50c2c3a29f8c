/**
 * What a client may say besides data once its handshake is done (RFC 8446 §4.6.3, §6): that it renews its key, and alerts. It is answered as OpenSSL answers, in
 * the order of OpenSSL's own checks.
 */
import { ALERTS, faultOfPeer, TlsFault } from './alerts.ts';
import { APPLICATION_DATA, HANDSHAKE, type OpenedRecord, type RecordReader, type RecordWriter } from './record.ts';

const KEY_UPDATE = 24;
const MESSAGE_HEADER = 4;
/** Alerts that say nothing, one after the other, as OpenSSL allows. */
const MOST_WARNINGS = 4;

/** Both directions of a connection, and what of the client's words has come only in part. */
export class Conversation {
  readonly reader: RecordReader;
  readonly writer: RecordWriter;
  /** A handshake message of which the end is missing. */
  #message: Buffer = Buffer.alloc(0);
  #warnings = 0;

  constructor(reader: RecordReader, writer: RecordWriter) {
    this.reader = reader;
    this.writer = writer;
  }

  /** A record, or a message, has come in part. */
  get isHalfHeard(): boolean {
    return this.reader.pending > 0 || this.#message.length > 0;
  }

  feed(bytes: Buffer): void {
    this.reader.feed(bytes);
  }

  /** @returns the next data; null: the client has said that nothing more will come; undefined: no more has come so far @throws TlsFault */
  next(): Buffer | null | undefined {
    for (let record = this.reader.next(); record !== undefined; record = this.reader.next()) {
      if (record.type === APPLICATION_DATA) {
        if (this.#message.length > 0) throw new TlsFault('mixed handshake and non handshake data', ALERTS.unexpectedMessage);
        if (record.content.length === 0) continue;
        this.#warnings = 0;
        return record.content;
      }
      if (record.type === HANDSHAKE) this.#hear(record);
      else if (this.#isEnd(record)) return null;
    }
    return undefined;
  }

  forget(): void {
    this.reader.forget();
    this.writer.forget();
  }

  #isEnd({ content }: OpenedRecord): boolean {
    if (content.length !== 2) throw new TlsFault('invalid alert', ALERTS.unexpectedMessage);
    const description = content[1] as number;
    if (description === ALERTS.userCanceled) {
      if (++this.#warnings > MOST_WARNINGS) throw new TlsFault('too many warn alerts', ALERTS.unexpectedMessage);
      return false;
    }
    const fault = description === ALERTS.closeNotify ? undefined : faultOfPeer(description);
    if (fault === undefined) return true;
    throw fault;
  }

  #hear({ content }: OpenedRecord): void {
    this.#warnings = 0;
    const message = Buffer.concat([this.#message, content]);
    this.#message = message;
    if (message.length < MESSAGE_HEADER) return;
    const length = message.readUIntBE(1, 3);
    if (message[0] !== KEY_UPDATE) throw new TlsFault('unexpected message', ALERTS.unexpectedMessage);
    if (length > 1) throw new TlsFault('excessive message size', ALERTS.illegalParameter);
    if (message.length < MESSAGE_HEADER + length) return;
    if (message.length > MESSAGE_HEADER + length) throw new TlsFault('not on record boundary', ALERTS.unexpectedMessage); // the key changes behind it
    this.#message = Buffer.alloc(0);
    this.#update(length === 0 ? undefined : message[MESSAGE_HEADER]);
  }

  #update(request: number | undefined): void {
    if (request === undefined) throw new TlsFault('bad key update', ALERTS.decodeError);
    if (request > 1) throw new TlsFault('bad key update', ALERTS.illegalParameter);
    this.reader.advance();
    this.writer.owesUpdate ||= request === 1;
  }
}
