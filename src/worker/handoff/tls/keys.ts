/**
 * The key schedule of TLS 1.3 behind the handshake (RFC 8446 §7.1 to §7.3, §7.5), for the suites that Node offers. Secrets are never strings and never in Buffers of
 * the shared pool; what is left over of one is zeroed here.
 */
import { createHash, createHmac, createSecretKey, type KeyObject } from 'node:crypto';

/** A cipher suite, as far as the record layer needs it. */
export interface Suite {
  readonly aead: 'aes-128-gcm' | 'aes-256-gcm' | 'chacha20-poly1305';
  readonly keyLength: number;
  readonly hash: 'sha256' | 'sha384';
  readonly hashLength: number;
}

const suites: Readonly<Record<string, Suite>> = {
  TLS_AES_128_GCM_SHA256: { aead: 'aes-128-gcm', keyLength: 16, hash: 'sha256', hashLength: 32 },
  TLS_AES_256_GCM_SHA384: { aead: 'aes-256-gcm', keyLength: 32, hash: 'sha384', hashLength: 48 },
  TLS_CHACHA20_POLY1305_SHA256: { aead: 'chacha20-poly1305', keyLength: 32, hash: 'sha256', hashLength: 32 },
};

/** By its standard name; undefined: connections with it don't move. The two CCM suites of TLS 1.3 are left out: Node offers them only on request. */
export function suiteOf(standardName: string): Suite | undefined {
  return Object.hasOwn(suites, standardName) ? suites[standardName] : undefined;
}

/** What seals the records of one direction. */
export interface TrafficKeys {
  readonly key: KeyObject;
  readonly iv: Buffer;
}

const NONE: Buffer = Buffer.alloc(0);

/** The keys of a traffic secret. A KeyObject, since bytes cost Node 24 as much again for each record as sealing it. */
export function trafficKeys({ hash, keyLength }: Suite, secret: Buffer): TrafficKeys {
  const bytes = expandLabel(hash, secret, 'key', NONE, keyLength);
  const key = createSecretKey(bytes);
  bytes.fill(0);
  return { key, iv: expandLabel(hash, secret, 'iv', NONE, 12) };
}

/** The traffic secret behind a KeyUpdate. */
export function nextSecret({ hash, hashLength }: Suite, secret: Buffer): Buffer {
  return expandLabel(hash, secret, 'traffic upd', NONE, hashLength);
}

/** As `tlsSocket.exportKeyingMaterial` answers. */
export function exportKeyingMaterial(
  { hash, hashLength }: Suite,
  exporterSecret: Buffer,
  length: number,
  label: string,
  context: Uint8Array = NONE,
): Buffer<ArrayBuffer> {
  const digest = (bytes: Uint8Array) => createHash(hash).update(bytes).digest();
  const derived = expandLabel(hash, exporterSecret, label, digest(NONE), hashLength);
  const material = expandLabel(hash, derived, 'exporter', digest(context), length);
  derived.fill(0);
  return material;
}

/** HKDF-Expand-Label. */
export function expandLabel(hash: Suite['hash'], secret: Buffer, label: string, context: Buffer, length: number): Buffer<ArrayBuffer> {
  const name = Buffer.from(`tls13 ${label}`, 'latin1');
  const info = Buffer.concat([Buffer.from([length >> 8, length & 0xff, name.length]), name, Buffer.from([context.length]), context]);
  const expanded = Buffer.alloc(length);
  let block: Buffer = NONE;
  for (let at = 0, count = 1; at < length; at += block.length, count++) {
    const next = createHmac(hash, secret)
      .update(block)
      .update(info)
      .update(Buffer.from([count]))
      .digest();
    block.fill(0);
    block = next;
    block.copy(expanded, at);
  }
  block.fill(0);
  return expanded;
}
