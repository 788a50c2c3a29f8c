/**
 * Whether this very Node binary does what moving TLS rests on: its counters, the order of its events, the format of OpenSSL's tickets. A worker makes a connection
 * with itself, moves it twice within the process, and has OpenSSL's own client read along, before it offers its first one.
 */
import { once } from 'node:events';
import { Socket } from 'node:net';
import { connect, createSecureContext, type SecureContext, TLSSocket } from 'node:tls';
import type { ConnectionHandle } from '../../../node/connection.ts';
import { makePair } from '../../../node/pair.ts';
import { look, observeOne } from '../../../node/tls.ts';
import { capture, detach } from './capture.ts';
import { openMoved, settle } from './moved-socket.ts';

/** On a machine with more to do than it can. */
const PATIENCE_MS = 10_000;
const PSK = { psk: Buffer.alloc(32, 1), identity: 'self' };
const PSK_CIPHERS = 'TLS_AES_128_GCM_SHA256:PSK';
/** Lengths of what is said: within a record, and over several. */
const WORDS = [1, 700, 40_000];
const MOVES = 2;

/**
 * Takes some milliseconds. With the context of a server, which shows what that sends to its clients; without, no certificate is needed.
 * @returns why no TLS connection, or none of that server, may move; undefined: they may
 */
export async function selfTest(context?: SecureContext): Promise<string | undefined> {
  const patience = new AbortController();
  const timer = setTimeout(() => patience.abort(new Error('it takes too long')), PATIENCE_MS);
  try {
    return await tryOut(context, patience.signal);
  } catch (error) {
    if (patience.signal.aborted) return 'it takes too long';
    const { reason, message } = error as Error & { readonly reason?: string };
    return reason ?? message;
  } finally {
    clearTimeout(timer);
    patience.abort(); // ends the connection
  }
}

async function tryOut(context: SecureContext | undefined, signal: AbortSignal): Promise<string | undefined> {
  const pair = await makePair(signal);
  let socket = serve(pair.handle, context);
  const client = connect({
    socket: pair.client,
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
    ...(context ? {} : { ciphers: PSK_CIPHERS, pskCallback: () => PSK }),
  });
  try {
    client.on('error', ignore);
    await whileFine(once(client, 'secureConnect', { signal }), socket);
    if (client.getProtocol() !== 'TLSv1.3') return 'it speaks no TLS 1.3';
    for (let move = 0; move <= MOVES; move++) {
      for (const length of WORDS) await converse(socket, client, length, signal);
      const moved = move < MOVES ? moveOn(socket) : socket;
      if (typeof moved === 'string') return moved;
      socket = moved;
    }
    return undefined;
  } finally {
    client.destroy();
    socket.destroy();
  }
}

function serve(handle: ConnectionHandle, context: SecureContext | undefined): TLSSocket {
  const secureContext = context ?? createSecureContext({ ciphers: PSK_CIPHERS, minVersion: 'TLSv1.3' });
  const socket = new TLSSocket(socketOf(handle), { isServer: true, secureContext, ...(context ? {} : { pskCallback: () => PSK.psk }) } as object);
  observeOne(socket);
  return socket.on('error', ignore);
}

function socketOf(handle: ConnectionHandle): Socket {
  return new Socket({ handle, readable: true, writable: true } as object);
}

/** What one says the other hears, in both directions. */
async function converse(socket: TLSSocket, client: TLSSocket, length: number, signal: AbortSignal): Promise<void> {
  for (const [from, to] of [[client, socket] as const, [socket, client] as const]) {
    const words = Buffer.alloc(length, 'word');
    const heard = whileFine(hear(to, length, signal), from);
    const sent = new Promise((resolve) => from.write(words, resolve));
    if (!(await heard).equals(words)) throw new Error('something else is heard than was said');
    await sent;
  }
  await new Promise((resolve) => setImmediate(setImmediate, resolve)); // Node notes only then that it was sent
}

async function hear(socket: TLSSocket, length: number, signal: AbortSignal): Promise<Buffer> {
  let heard = Buffer.alloc(0);
  while (heard.length < length) {
    const bytes = socket.read() as Buffer | null;
    if (bytes) heard = Buffer.concat([heard, bytes]);
    else await once(socket, 'readable', { signal });
  }
  return heard;
}

/** Whatever happens first: the other end may fail. */
async function whileFine<T>(promise: Promise<T>, other: TLSSocket): Promise<T> {
  let fail: (error: Error) => void = ignore;
  const failure = new Promise<never>((_, reject) => {
    fail = reject;
  });
  other.on('error', fail);
  try {
    return await Promise.race([promise, failure]);
  } finally {
    other.off('error', fail);
    promise.catch(ignore);
  }
}

function moveOn(socket: TLSSocket): TLSSocket | string {
  look(socket);
  const state = capture(socket);
  if ('not' in state) return state.not;
  const moved = openMoved(socketOf(detach(socket)), state);
  socket.destroy();
  settle(moved);
  return moved.on('error', ignore);
}

function ignore(): void {}
