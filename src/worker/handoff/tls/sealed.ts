/**
 * What crosses from worker to worker by way of the master, whose heap and log are to hold no secret of a connection: sealed for each worker that may get it. It is
 * encrypted once, with a key of its own; that is wrapped for each recipient. What two workers have agreed on is kept, since an agreement costs more than all else.
 *
 *   sender's public key (32) · count (1) · per recipient: its name (8), nonce (12), wrapped key (32), tag (16) · tag (16) · ciphertext
 */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createPublicKey,
  createSecretKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
  randomBytes,
  randomFillSync,
} from 'node:crypto';

/** One a process. The private half never leaves it. */
export interface Recipient {
  /** Base64, for those who seal. */
  readonly publicKey: string;
  /** Encrypts bytes for these public keys; unreadable ones are passed over. @throws a RangeError for none, or more than 255 */
  seal(publicKeys: readonly string[], bytes: Buffer): string;
  /** @returns what was sealed, to be zeroed when it was used; undefined: it was sealed for others @throws an error for the log if it was tampered with */
  open(sealed: string): Buffer | undefined;
}

const AEAD = 'aes-256-gcm';
const KEY = 32;
const NAME = 8;
const NONCE = 12;
const TAG = 16;
const WRAP = NAME + NONCE + KEY + TAG;
const MOST_RECIPIENTS = 255;
/** Workers come and go. */
const MOST_AGREEMENTS = 512;
/** Used with a key that encrypts once. */
const NO_NONCE = Buffer.alloc(NONCE);
/** RFC 8410: what stands before the 32 bytes of an X25519 key. */
const SPKI = Buffer.from('302a300506032b656e032100', 'hex');

/** Makes the keys of this process. */
export function makeRecipient(): Recipient {
  const pair = generateKeyPairSync('x25519');
  const own = pair.publicKey.export({ type: 'spki', format: 'der' }).subarray(SPKI.length);
  const agreements = new Map<string, KeyObject>();
  /** The key of a sender and a recipient: one of them is this process. */
  const agree = (other: Buffer, sender: Buffer, recipient: Buffer): KeyObject => {
    const id = `${other === recipient ? 'to' : 'from'} ${other.toString('base64')}`;
    const known = agreements.get(id);
    if (known) return known;
    if (agreements.size >= MOST_AGREEMENTS) agreements.clear();
    const publicKey = createPublicKey({ key: Buffer.concat([SPKI, other]), type: 'spki', format: 'der' });
    const shared = diffieHellman({ privateKey: pair.privateKey, publicKey });
    const key = Buffer.from(hkdfSync('sha256', shared, Buffer.concat([sender, recipient]), 'graceful-super moved tls', KEY));
    const agreement = createSecretKey(key);
    for (const bytes of [shared, key]) bytes.fill(0);
    agreements.set(id, agreement);
    return agreement;
  };
  return {
    publicKey: own.toString('base64'),
    seal: (publicKeys, bytes) => sealFor(publicKeys, bytes, own, (recipient) => agree(recipient, own, recipient)),
    open: (sealed) => openAs(own, sealed, (sender) => agree(sender, sender, own)),
  };
}

function sealFor(publicKeys: readonly string[], bytes: Buffer, own: Buffer, agree: (recipient: Buffer) => KeyObject): string {
  const recipients = [...new Set(publicKeys)].map((text) => Buffer.from(text, 'base64')).filter(({ length }) => length === KEY);
  if (recipients.length === 0 || recipients.length > MOST_RECIPIENTS) throw new RangeError(`it can't be sealed for ${recipients.length} workers`);
  const key = randomFillSync(Buffer.alloc(KEY));
  const wraps = recipients.map((recipient) => {
    const nonce = randomBytes(NONCE);
    const [wrapped, tag] = encrypt(agree(recipient), nonce, key, own);
    return Buffer.concat([nameOf(recipient), nonce, wrapped, tag]);
  });
  const head = Buffer.concat([own, Buffer.of(wraps.length), ...wraps]);
  const [body, tag] = encrypt(key, NO_NONCE, bytes, head);
  key.fill(0);
  return Buffer.concat([head, tag, body]).toString('base64');
}

function openAs(own: Buffer, sealed: string, agree: (sender: Buffer) => KeyObject): Buffer | undefined {
  const bytes = Buffer.from(sealed, 'base64');
  const end = KEY + 1 + WRAP * (bytes[KEY] ?? 0);
  if (bytes.length < end + TAG) throw new TypeError('it is too short');
  const name = nameOf(own);
  for (let at = KEY + 1; at < end; at += WRAP) {
    if (!bytes.subarray(at, at + NAME).equals(name)) continue;
    const sender = bytes.subarray(0, KEY);
    const [nonce, wrapped, tag] = [NAME, NAME + NONCE, NAME + NONCE + KEY].map((from) => bytes.subarray(at + from)) as [Buffer, Buffer, Buffer];
    const key = decrypt(agree(sender), nonce.subarray(0, NONCE), [wrapped.subarray(0, KEY), tag.subarray(0, TAG)], sender);
    const opened = decrypt(key, NO_NONCE, [bytes.subarray(end + TAG), bytes.subarray(end, end + TAG)], bytes.subarray(0, end));
    key.fill(0);
    return opened;
  }
  return undefined;
}

function nameOf(publicKey: Buffer): Buffer {
  return createHash('sha256').update(publicKey).digest().subarray(0, NAME);
}

function encrypt(key: KeyObject | Buffer, nonce: Buffer, bytes: Buffer, context: Buffer): [body: Buffer, tag: Buffer] {
  const cipher = createCipheriv(AEAD, key, nonce).setAAD(context);
  const body = cipher.update(bytes);
  cipher.final();
  return [body, cipher.getAuthTag()];
}

function decrypt(key: KeyObject | Buffer, nonce: Buffer, [body, tag]: [body: Buffer, tag: Buffer], context: Buffer): Buffer {
  const decipher = createDecipheriv(AEAD, key, nonce, { authTagLength: TAG }).setAAD(context).setAuthTag(tag);
  const opened = decipher.update(body); // in memory of its own
  decipher.final();
  return opened;
}
