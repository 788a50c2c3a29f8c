/**
 * No number is used twice under a key, over all owners of a connection's life, and each is the true one: a client that counts records opens every one with the
 * next number and no other, and what this process seals is written down by key and nonce.
 */
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';
import type { Server } from 'node:net';
import { after, test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import fc from 'fast-check';
import { type Suite, suiteOf, trafficKeys } from '../../../../src/worker/handoff/tls/keys.ts';
import { isMoved } from '../../../../src/worker/handoff/tls/moved-socket.ts';
import { type CountingClient, connectCounting } from '../../helpers/counting-client.ts';
import { captureAtOnce, listenObserved, makeCredentials, makeServer, move } from '../../helpers/moving-tls.ts';

const credentials = makeCredentials();
const suites = ['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256'];

/** Key and nonce of whatever was sealed in this process outside of OpenSSL. */
const used = new Set<string>();
const twice: string[] = [];
const { createCipheriv } = crypto;
const use = (key: crypto.KeyObject, nonce: Buffer) => {
  const pair = `${key.export().toString('hex')} ${nonce.toString('hex')}`;
  if (used.has(pair)) twice.push(pair);
  used.add(pair);
};
crypto.createCipheriv = ((...args: Parameters<typeof createCipheriv>) => {
  if (args[1] instanceof crypto.KeyObject) use(args[1], Buffer.from(args[2] as Buffer));
  return createCipheriv(...args);
}) as typeof createCipheriv;
syncBuiltinESMExports();
after(() => {
  crypto.createCipheriv = createCipheriv;
  syncBuiltinESMExports();
});

/** Writes down what OpenSSL has sealed: it begins with 0, and does not change its key unasked. */
function useNative(suite: Suite, secret: Buffer, records: number): void {
  const { key, iv } = trafficKeys(suite, secret);
  for (let sequence = 0; sequence < records; sequence++) {
    const nonce = Buffer.from(iv);
    nonce.writeUInt32BE((nonce.readUInt32BE(8) ^ sequence) >>> 0, 8);
    use(key, nonce);
  }
}

const size = fc.oneof(fc.constantFrom(1, 5, 511, 512, 513, 4096, 4097, 16_383, 16_384, 16_385, 40_000), fc.integer({ min: 1, max: 70_000 }));
const text = fc.constantFrom('x', 'ä', '€', '😀');
const encoding = fc.constantFrom<BufferEncoding>('utf8', 'latin1', 'ascii', 'utf16le', 'hex', 'base64');
const action = fc.oneof(
  { weight: 3, arbitrary: fc.record({ type: fc.constant('bytes' as const), size }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('text' as const), size, text, encoding }) },
  {
    weight: 2,
    arbitrary: fc.record({ type: fc.constant('corked' as const), sizes: fc.array(fc.oneof(size, fc.constant(0)), { minLength: 1, maxLength: 4 }) }),
  },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('hear' as const), size }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('update' as const), isRequested: fc.boolean() }) },
  { weight: 4, arbitrary: fc.record({ type: fc.constant('move' as const), times: fc.integer({ min: 1, max: 3 }) }) },
);
type Action = typeof action extends fc.Arbitrary<infer T> ? T : never;

interface Scene {
  readonly server: Server;
  readonly client: CountingClient;
  readonly suite: Suite;
  socket: TLSSocket;
  sent: number;
  heard: number;
  spoken: number;
  moves: number;
  hasUpdatedNative: boolean;
}

const tally = { moves: 0, stayed: 0 };

for (const ciphers of suites) {
  test(`Each record has the next number, and no other has it: ${ciphers}`, { timeout: 240_000 }, async (context) => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          size.filter((n) => n < 20_000),
          { maxLength: 2 },
        ),
        fc.array(action, { maxLength: 14 }),
        (greetings, actions) => play(ciphers, greetings, actions),
      ),
      { numRuns: Number(process.env['RUNS'] ?? 40), ...(process.env['SEED'] && { seed: Number(process.env['SEED']) }) },
    );
    assert.ok(tally.moves > 0 && used.size > 0);
    context.diagnostic(`${tally.moves} moves, ${tally.stayed} stayed, ${used.size} records`);
  });
}

async function play(ciphers: string, greetings: readonly number[], actions: readonly Action[]): Promise<void> {
  let scene: Scene | undefined;
  const waiting: TLSSocket[] = [];
  let heard = 0;
  const server = makeServer(credentials, (socket) => {
    socket.on('data', (bytes) => {
      heard += bytes.length;
      if (scene) scene.heard = heard;
    });
    if (scene) scene.socket = socket;
    else for (const greeting of greetings) socket.write(Buffer.alloc(greeting, 'g'));
    waiting.push(socket);
  });
  const port = await listenObserved(server);
  try {
    await using client = await connectCounting(port, ciphers);
    await client.until(() => waiting.length > 0);
    const suite = suiteOf(ciphers) as Suite;
    const sent = greetings.reduce((sum, length) => sum + length, 0);
    scene = { server, client, suite, socket: waiting[0] as TLSSocket, sent, heard, spoken: 0, moves: 0, hasUpdatedNative: false };
    for (const step of actions) await act(scene, step);
    assert.deepEqual(client.alerts, []);
    assert.deepEqual(twice, []);
  } finally {
    server.close();
  }
}

async function act(scene: Scene, step: Action): Promise<void> {
  const { client, socket } = scene;
  if (step.type === 'bytes') write(scene, Buffer.alloc(step.size, 'b'));
  if (step.type === 'text') write(scene, step.text.repeat(step.size / 4 + 1), step.encoding);
  if (step.type === 'corked') {
    socket.cork();
    for (const [index, length] of step.sizes.entries()) write(scene, index % 2 ? 'y'.repeat(length) : Buffer.alloc(length));
    socket.uncork();
  }
  if (step.type === 'hear') {
    client.send(Buffer.alloc(step.size, 'c'));
    scene.spoken += step.size;
  }
  if (step.type === 'update') {
    client.updateKey(step.isRequested);
    scene.hasUpdatedNative ||= !isMoved(socket);
  }
  if (step.type === 'move') for (let time = 0; time < step.times; time++) await tryToMove(scene);
  await client.until(() => client.received === scene.sent && scene.heard === scene.spoken && scene.socket.writableLength === 0);
}

function write(scene: Scene, data: string | Buffer, encoding?: BufferEncoding): void {
  scene.sent += typeof data === 'string' ? Buffer.from(data, encoding).length : data.length;
  if (typeof data === 'string') scene.socket.write(data, encoding);
  else scene.socket.write(data);
}

async function tryToMove(scene: Scene): Promise<void> {
  const { client, socket, server, suite } = scene;
  await client.until(() => client.received === scene.sent && scene.heard === scene.spoken && socket.writableLength === 0);
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  const wasMoved = isMoved(socket);
  const state = captureAtOnce(socket);
  if (typeof state === 'string') {
    tally.stayed++;
    return assert.ok(!wasMoved, state);
  }
  assert.ok(!scene.hasUpdatedNative, 'its numbers began anew in OpenSSL');
  await client.until(() => client.reader.sequence >= state.write.sequence);
  assert.equal(state.write.sequence, client.reader.sequence); // never too low, nor too high
  if (!wasMoved) useNative(suite, state.write.secret, state.write.sequence);
  assert.equal(typeof move(server, socket), 'object');
  scene.moves++;
  tally.moves++;
}
