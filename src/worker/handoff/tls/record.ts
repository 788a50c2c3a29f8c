/**
 * The record layer of TLS 1.3 (RFC 8446 §5) over node:crypto, one direction each. What a peer may not send ends in the alert that OpenSSL would send.
 *
 * A nonce is never used twice under a key: a number is counted up before its record is handed out, a writer is made by the one who owns the connection, and
 * forgets its key when it ends.
 */
import { createCipheriv, createDecipheriv, type KeyObject } from 'node:crypto';
import { ALERTS, TlsFault } from './alerts.ts';
import { nextSecret, type Suite, trafficKeys } from './keys.ts';

/** Content types. */
export const HANDSHAKE = 22;
export const ALERT = 21;
export const APPLICATION_DATA = 23;
/** Most plaintext of a record, unless the client has asked for less. */
export const LARGEST_FRAGMENT: number = 2 ** 14;

const HEADER = 5;
const TAG = 16;
const LARGEST_RECORD = LARGEST_FRAGMENT + 256;
const VERSION_MAJOR = 3;
/** What is shorter costs less to copy than to send in pieces. */
const SMALL = 4096;
const AEAD = { authTagLength: TAG };
/** RFC 8446 §5.5: AES-GCM is good for 2^24.5 full records under a key. */
const RECORDS_PER_KEY: number = 2 ** 24;
/** Records without content, one after the other, as OpenSSL allows. */
const MOST_EMPTY = 32;
/** A record is tried under so many numbers at most: a client that pads its records has its first one tried under several. */
const MOST_TRIALS = 4096;
/** update_not_requested */
const KEY_UPDATE = Buffer.from([24, 0, 0, 1, 0]);

/** Where a direction stands: the number is that of its next record. */
export interface Direction {
  readonly secret: Buffer;
  readonly sequence: number;
}

/** The number was counted from outside: it is the nearest one within these bounds under which the next record can be opened. */
export interface Bounds {
  readonly lowest: number;
  readonly highest: number;
}

/** A record, opened. */
export interface OpenedRecord {
  readonly type: number;
  readonly content: Buffer;
}

class Keys {
  secret: Buffer;
  sequence: number;
  protected readonly suite: Suite;
  protected key: KeyObject | undefined;
  #iv: Buffer = Buffer.alloc(0);
  #nonce: Buffer = Buffer.alloc(0);

  constructor(suite: Suite, { secret, sequence }: Direction) {
    this.suite = suite;
    this.secret = secret;
    this.sequence = sequence;
    this.#derive();
  }

  /** The next generation; the one before can't be found from it. */
  advance(): void {
    const { secret } = this;
    this.secret = nextSecret(this.suite, secret);
    secret.fill(0);
    this.sequence = 0;
    this.#derive();
  }

  /** Nothing can be sealed or opened any more. */
  forget(): void {
    this.key = undefined;
    for (const bytes of [this.secret, this.#iv, this.#nonce]) bytes.fill(0);
  }

  protected liveKey(): KeyObject {
    if (this.key === undefined) throw new Error('the keys of this connection are gone');
    return this.key;
  }

  /** RFC 8446 §5.3 */
  protected nonceOf(sequence: number): Buffer {
    const nonce = this.#nonce;
    nonce.writeInt32BE(this.#iv.readInt32BE(4) ^ Math.floor(sequence / 2 ** 32), 4);
    nonce.writeInt32BE(this.#iv.readInt32BE(8) ^ (sequence | 0), 8);
    return nonce;
  }

  #derive(): void {
    const { key, iv } = trafficKeys(this.suite, this.secret);
    this.key = key;
    this.#iv.fill(0);
    this.#iv = iv;
    this.#nonce = Buffer.alloc(iv.length, iv); // the first four bytes stay
  }
}

/** Seals what goes out. */
export class RecordWriter extends Keys {
  /** The peer has asked for a new key: it gets one before the next data, however often it asks, as OpenSSL does it. */
  owesUpdate: boolean;
  readonly #largest: number;
  readonly #recordsPerKey: number;

  constructor(suite: Suite, at: Direction & { readonly owesUpdate?: boolean }, largest: number = LARGEST_FRAGMENT, recordsPerKey: number = RECORDS_PER_KEY) {
    super(suite, at);
    this.owesUpdate = at.owesUpdate ?? false;
    this.#largest = largest;
    this.#recordsPerKey = recordsPerKey;
  }

  /** @returns the records, to be sent in this order before anything that is sealed later */
  sealData(bytes: Buffer): Buffer[] {
    const sealed: Buffer[] = [];
    for (let at = 0; at < bytes.length; at += this.#largest) {
      if (this.owesUpdate || this.sequence >= this.#recordsPerKey) sealed.push(this.#update());
      this.#seal(sealed, bytes.subarray(at, at + this.#largest));
    }
    return sealed;
  }

  /** A record of any type. */
  sealRecord(type: number, content: Buffer): Buffer {
    const { length } = content;
    const record = Buffer.allocUnsafe(HEADER + length + 1 + TAG);
    const inner = record.subarray(HEADER, HEADER + length + 1);
    inner.set(content);
    inner[length] = type;
    const cipher = this.#begin(record, length);
    record.set(cipher.update(inner), HEADER);
    cipher.final();
    record.set(cipher.getAuthTag(), HEADER + length + 1);
    return record;
  }

  #update(): Buffer {
    const record = this.sealRecord(HANDSHAKE, KEY_UPDATE);
    this.advance();
    this.owesUpdate = false;
    return record;
  }

  #seal(sealed: Buffer[], content: Buffer): void {
    if (content.length <= SMALL) sealed.push(this.sealRecord(APPLICATION_DATA, content));
    else sealed.push(...this.#sealLarge(content));
  }

  #sealLarge(content: Buffer): Buffer[] {
    const header = Buffer.allocUnsafe(HEADER);
    const cipher = this.#begin(header, content.length);
    const body = cipher.update(content);
    const type = cipher.update(Buffer.of(APPLICATION_DATA));
    cipher.final();
    return [header, body, Buffer.concat([type, cipher.getAuthTag()])];
  }

  /** Takes the next number, whatever becomes of the record. */
  #begin(header: Buffer, length: number): ReturnType<typeof createCipheriv> & { getAuthTag(): Buffer } {
    const key = this.liveKey();
    header[0] = APPLICATION_DATA;
    header[1] = header[2] = VERSION_MAJOR;
    header.writeUInt16BE(length + 1 + TAG, 3);
    const cipher = createCipheriv(this.suite.aead as 'aes-256-gcm', key, this.nonceOf(this.sequence++), AEAD);
    cipher.setAAD(header.subarray(0, HEADER));
    return cipher;
  }
}

/** Opens what comes in. */
export class RecordReader extends Keys {
  /** Absent once a record was authenticated: the number is known then. */
  bounds: Bounds | undefined;
  readonly #largest: number;
  #rest: Buffer = Buffer.alloc(0);
  #empty = 0;

  constructor(suite: Suite, at: Direction & { readonly bounds?: Bounds | undefined }, largest: number = LARGEST_FRAGMENT) {
    super(suite, at);
    this.bounds = at.bounds;
    this.#largest = largest;
  }

  /** Bytes of a record that has not come whole. */
  get pending(): number {
    return this.#rest.length;
  }

  feed(bytes: Buffer): void {
    this.#rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
  }

  /** @returns the next record; undefined: it has not come whole @throws TlsFault */
  next(): OpenedRecord | undefined {
    const rest = this.#rest;
    if (rest.length < HEADER) return undefined;
    const length = lengthOf(rest);
    if (rest.length < HEADER + length) return undefined;
    const plain = this.#open(rest.subarray(0, HEADER), rest.subarray(HEADER, HEADER + length));
    this.#rest = rest.subarray(HEADER + length);
    let end = plain.length - 1;
    while (end >= 0 && plain[end] === 0) end--; // padding
    const record: OpenedRecord = { type: end < 0 ? 0 : (plain[end] as number), content: plain.subarray(0, Math.max(end, 0)) };
    this.#check(record, plain.length);
    return record;
  }

  #check({ type, content }: OpenedRecord, length: number): void {
    if (length > LARGEST_FRAGMENT + 1) throw new TlsFault('data length too long', ALERTS.recordOverflow);
    if (type !== APPLICATION_DATA && type !== HANDSHAKE && type !== ALERT) throw new TlsFault('bad record type', ALERTS.unexpectedMessage);
    if (type !== APPLICATION_DATA && content.length === 0) throw new TlsFault('bad length', ALERTS.unexpectedMessage);
    if (content.length > this.#largest) throw new TlsFault('data length too long', ALERTS.recordOverflow);
    this.#empty = content.length === 0 ? this.#empty + 1 : 0;
    if (this.#empty > MOST_EMPTY) throw new TlsFault('record too small', ALERTS.unexpectedMessage);
  }

  #open(header: Buffer, body: Buffer): Buffer {
    const plain = this.bounds ? this.#find(this.bounds, header, body) : this.#try(this.sequence, header, body);
    if (plain === undefined) throw new TlsFault('decryption failed or bad record mac', ALERTS.badRecordMac);
    this.bounds = undefined;
    this.sequence++;
    return plain;
  }

  /** Nearest first. A wrong number does not pass, since the tag has 128 bits, and to try one gives nothing away. */
  #find({ lowest, highest }: Bounds, header: Buffer, body: Buffer): Buffer | undefined {
    const counted = this.sequence;
    let trials = 0;
    for (let distance = 0; trials < MOST_TRIALS && distance <= Math.max(counted - lowest, highest - counted); distance++) {
      for (const sequence of distance === 0 ? [counted] : [counted - distance, counted + distance]) {
        if (sequence < lowest || sequence > highest) continue;
        trials++;
        const plain = this.#try(sequence, header, body);
        if (plain === undefined) continue;
        this.sequence = sequence;
        return plain;
      }
    }
    return undefined;
  }

  /** Nothing is given out before its tag was found right. */
  #try(sequence: number, header: Buffer, body: Buffer): Buffer | undefined {
    const end = body.length - TAG;
    if (end < 1) return undefined;
    const decipher = createDecipheriv(this.suite.aead as 'aes-256-gcm', this.liveKey(), this.nonceOf(sequence), AEAD);
    decipher.setAAD(header).setAuthTag(body.subarray(end));
    const plain = decipher.update(body.subarray(0, end));
    try {
      decipher.final();
      return plain;
    } catch {
      return undefined; // the tag does not fit
    }
  }
}

/** @throws TlsFault for what no record of a protected connection begins with */
function lengthOf(rest: Buffer): number {
  if (rest[0] !== APPLICATION_DATA) throw new TlsFault('bad record type', ALERTS.unexpectedMessage);
  if (rest[1] !== VERSION_MAJOR) throw new TlsFault('wrong version number', ALERTS.decodeError);
  const length = rest.readUInt16BE(3);
  if (length > LARGEST_RECORD) throw new TlsFault('encrypted length too long', ALERTS.recordOverflow);
  return length;
}
