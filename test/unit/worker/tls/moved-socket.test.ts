/** A moved connection answers its program as a native one does. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import https from 'node:https';
import net, { type Server, Socket } from 'node:net';
import { describe, test } from 'node:test';
import tls, { TLSSocket } from 'node:tls';
import { inspect } from 'node:util';
import v8 from 'node:v8';
import { detach } from '../../../../src/worker/handoff/tls/capture.ts';
import { isMoved, type MovedTlsSocket, settle, silence, stateOf } from '../../../../src/worker/handoff/tls/moved-socket.ts';
import { makeFolder } from '../../helpers/folder.ts';
import { captureAtOnce, listenObserved, makeCredentials, makeServer, move, openOn } from '../../helpers/moving-tls.ts';

const credentials = makeCredentials();

interface Meeting extends AsyncDisposable {
  readonly server: Server;
  readonly client: TLSSocket;
  readonly native: TLSSocket;
}

/** A connection on which each side has spoken once. */
async function meet(options: tls.TlsOptions = {}, clients: tls.ConnectionOptions = {}): Promise<Meeting> {
  const arrived: TLSSocket[] = [];
  const server = makeServer({ ...credentials, ...options }, (socket) => void arrived.push(socket));
  const port = await listenObserved(server);
  const client = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...clients });
  client.on('error', () => {});
  await once(client, 'secureConnect');
  client.write('hello');
  while (arrived.length === 0) await new Promise(setImmediate);
  const [native] = arrived as [TLSSocket];
  await echo(native, client);
  return {
    server,
    client,
    native,
    async [Symbol.asyncDispose]() {
      client.destroy();
      for (const socket of arrived) socket.destroy();
      server.close();
      await once(server, 'close').catch(() => {});
    },
  };
}

async function echo(socket: TLSSocket, client: TLSSocket): Promise<void> {
  const [bytes] = (await once(socket, 'data')) as [Buffer];
  await new Promise((resolve) => socket.write(bytes, resolve));
  await once(client, 'data');
  await new Promise((resolve) => setImmediate(setImmediate, resolve));
}

function moveSurely(server: Server, socket: TLSSocket): MovedTlsSocket {
  const moved = move(server, socket);
  assert.ok(typeof moved === 'object', String(moved));
  return moved;
}

const facts = (socket: TLSSocket) => ({
  isTls: socket instanceof TLSSocket,
  isSocket: socket instanceof Socket,
  encrypted: socket.encrypted,
  authorized: socket.authorized,
  authorizationError: socket.authorizationError,
  alpnProtocol: socket.alpnProtocol,
  servername: (socket as TLSSocket & { servername?: unknown }).servername,
  cipher: socket.getCipher(),
  protocol: socket.getProtocol(),
  isReused: socket.isSessionReused(),
  certificate: socket.getPeerCertificate(),
  detailed: socket.getPeerCertificate(true),
  x509: socket.getPeerX509Certificate()?.raw,
  exported: socket.exportKeyingMaterial(40, 'EXPERIMENTAL test', Buffer.from('context')).toString('hex'),
  withoutContext: (socket.exportKeyingMaterial as (length: number, label: string) => Buffer).call(socket, 40, 'EXPERIMENTAL test').length,
  remoteAddress: socket.remoteAddress,
  remotePort: socket.remotePort,
  remoteFamily: socket.remoteFamily,
  localPort: socket.localPort,
  address: socket.address(),
});

for (const [name, options, clients] of [
  ['without anything', {}, {}],
  ['with a name and a protocol', { ALPNProtocols: ['one', 'two'] }, { servername: 'somewhere', ALPNProtocols: ['two'] }],
  ['with a certificate that nobody knows', { requestCert: true, rejectUnauthorized: false }, credentials],
  ['asked for a certificate, without one', { requestCert: true, rejectUnauthorized: false }, {}],
] as const) {
  test(`What a program asks a connection is answered as before: one ${name}`, async () => {
    await using meeting = await meet(options as tls.TlsOptions, clients);
    const native = facts(meeting.native);
    const moved = moveSurely(meeting.server, meeting.native);
    assert.deepEqual(facts(moved), native);
    assert.ok(isMoved(moved));
  });
}

test('No method of a TLSSocket fails on a moved one', async () => {
  await using meeting = await meet();
  const moved = moveSurely(meeting.server, meeting.native);
  for (const name of Object.getOwnPropertyNames(TLSSocket.prototype).filter((key) => /^(get|is|disable|enable|setMax|setKey|renegotiate)/.test(key))) {
    assert.doesNotThrow(() => (moved as unknown as Record<string, (...args: unknown[]) => unknown>)[name]?.(512), name);
  }
});

test('Bytes are those of the program, not of records', async () => {
  await using meeting = await meet();
  const moved = moveSurely(meeting.server, meeting.native);
  assert.deepEqual([moved.bytesRead, moved.bytesWritten], [0, 0]);
  meeting.client.write('hello');
  await echo(moved, meeting.client);
  assert.deepEqual([moved.bytesRead, moved.bytesWritten], [5, 5]);
});

test('What is written before the connection is known to stay goes out when it does, and not at all when it does not', async () => {
  await using meeting = await meet();
  const state = captureAtOnce(meeting.native);
  assert.ok(typeof state === 'object');
  const { sequence } = state.write;
  const first = openOn(meeting.server, detach(meeting.native), {
    ...state,
    read: { ...state.read, secret: Buffer.from(state.read.secret) },
    write: { ...state.write, secret: Buffer.from(state.write.secret) },
  });
  first.write('refused');
  assert.equal(stateOf(first), undefined);
  silence(first);
  const { _handle: handle } = first as unknown as { _handle: never };
  (first as unknown as { _handle: null })._handle = null;
  first.destroy();
  const second = openOn(meeting.server, handle, state);
  second.write('accepted');
  settle(second);
  const [bytes] = (await once(meeting.client, 'data')) as [Buffer];
  assert.equal(String(bytes), 'accepted');
  assert.equal(stateOf(second)?.write.sequence, sequence + 1);
  second.destroy();
});

test('A connection that has left says nothing more, not even in the clear', async () => {
  await using meeting = await meet();
  const moved = moveSurely(meeting.server, meeting.native);
  assert.ok(stateOf(moved));
  silence(moved);
  const error = await new Promise<Error | null | undefined>((resolve) => {
    moved.on('error', () => {});
    moved.write('too late', resolve);
  });
  assert.equal((error as NodeJS.ErrnoException).code, 'ERR_SOCKET_CLOSED');
  assert.equal(stateOf(moved), undefined);
});

test('A paused reader holds the client back, and a timeout strikes', async () => {
  await using meeting = await meet();
  const moved = moveSurely(meeting.server, meeting.native);
  let isWritten = false;
  meeting.client.write(Buffer.alloc(20_000_000), () => {
    isWritten = true;
  });
  await once(moved, 'readable');
  await once(moved.setTimeout(50), 'timeout');
  assert.ok(!isWritten && moved.readableLength < 1_000_000);
  let heard = 0;
  moved.on('data', (bytes) => {
    heard += bytes.length;
  });
  while (heard < 20_000_000) await once(moved, 'data');
});

describe('what stays', () => {
  const reasons: [string, tls.TlsOptions, tls.ConnectionOptions, RegExp][] = [
    ['TLS 1.2', { maxVersion: 'TLSv1.2' }, {}, /not known, as of TLS 1.2/],
    ['a suite that Node offers on request only', { ciphers: 'TLS_AES_128_CCM_SHA256' }, { ciphers: 'TLS_AES_128_CCM_SHA256' }, /its suite is/],
  ];
  for (const [name, options, clients, reason] of reasons) {
    test(name, async () => {
      await using meeting = await meet(options, clients);
      assert.match(String(captureAtOnce(meeting.native)), reason);
    });
  }
  test('a connection whose handshake nobody has observed', async () => {
    const server = makeServer(credentials, () => {});
    server.listen(0, '127.0.0.1');
    const accepted = once(server, 'secureConnection');
    await once(server, 'listening');
    const client = tls.connect({ port: (server.address() as net.AddressInfo).port, rejectUnauthorized: false });
    const [socket] = (await accepted) as [TLSSocket];
    assert.match(String(captureAtOnce(socket)), /not known/);
    client.destroy();
    server.close();
  });
  test('one that greets with more than a fragment before it has read', async () => {
    const arrived: TLSSocket[] = [];
    const server = makeServer(credentials, (socket) => {
      socket.write(Buffer.alloc(513));
      arrived.push(socket);
    });
    const port = await listenObserved(server);
    const client = tls.connect({ port, rejectUnauthorized: false });
    let heard = 0;
    client.on('data', (bytes) => {
      heard += bytes.length;
    });
    while (heard < 513) await once(client, 'data');
    const [socket] = arrived as [TLSSocket];
    while (socket.writableLength > 0) await new Promise(setImmediate);
    await new Promise((resolve) => setImmediate(setImmediate, resolve));
    assert.match(String(captureAtOnce(socket)), /tickets could not be counted/);
    client.destroy();
    server.close();
  });
});

test('Secrets are found in no heap snapshot and no printed socket, native or moved', {
  timeout: 120_000,
}, async () => {
  const truth: number[][] = []; // as numbers, so that the test does not find itself
  const sockets: TLSSocket[] = [];
  const server = https.createServer(credentials, (_, response) => void response.end('ok'));
  server.on('keylog', (line: Buffer) => {
    const at = line.lastIndexOf(32) + 1;
    if (line.includes('TRAFFIC_SECRET_0') || line.includes('EXPORTER')) truth.push(Array.from(line.subarray(at, at + 64), (code) => code + 1_000));
  });
  const port = await listenObserved(server);
  server.on('secureConnection', (socket) => void sockets.push(socket));
  const agent = new https.Agent({ keepAlive: true, rejectUnauthorized: false });
  const get = () => new Promise((resolve) => https.get({ port, agent }, (response) => response.resume().on('end', resolve)));
  await get();
  await new Promise((resolve) => setImmediate(setImmediate, resolve));
  assert.equal(find(truth, sockets), 0);
  const state = captureAtOnce(sockets[0] as TLSSocket);
  assert.ok(typeof state === 'object');
  const moved = moveSurely(server, sockets[0] as TLSSocket);
  await get();
  assert.equal(sockets.at(-1), moved);
  assert.equal(find(truth, moved), 0);
  (globalThis as { leak?: unknown }).leak = String.fromCharCode(...(truth[0] as number[]).map((code) => code - 1_000));
  assert.ok(find(truth) > 0, 'one that is kept on purpose is found');
  delete (globalThis as { leak?: unknown }).leak;
  agent.destroy();
  server.closeAllConnections();
  server.close();
});

test('What was noted of a connection, and what it has moved with, is zeroed when it ends', async (t) => {
  const { alloc } = Buffer;
  const made: Buffer[] = [];
  t.mock.method(Buffer, 'alloc', (...args: Parameters<typeof alloc>) => {
    const buffer = alloc(...args);
    if (buffer.length > 0 && buffer.length <= 3 * 48) made.push(buffer);
    return buffer;
  });
  await using meeting = await meet();
  const noted = made.splice(0);
  assert.equal(noted.filter(isSet).length, 1, 'one Buffer holds the secrets of a connection');
  const moved = moveSurely(meeting.server, meeting.native);
  assert.equal(noted.filter(isSet).length, 0, 'nothing is kept by who has let go of it');
  assert.ok(made.filter(isSet).length > 3, 'who goes on has secrets and what is derived from them');
  moved.destroy();
  await once(moved, 'close');
  assert.equal(made.filter(isSet).length, 0, 'nothing is kept of a connection that has moved and ended');
  await using other = await meet();
  other.native.destroy();
  await once(other.native, 'close');
  assert.equal(made.filter(isSet).length, 0, 'nothing is kept of a native connection that has ended');
});

function isSet(bytes: Buffer): boolean {
  return bytes.some((byte) => byte !== 0);
}

function find(truth: readonly number[][], ...printed: unknown[]): number {
  using folder = makeFolder();
  const text =
    readFileSync(v8.writeHeapSnapshot(`${folder.path}/heap`), 'latin1') +
    inspect(
      printed.filter((it) => it instanceof Socket),
      { depth: 6, showHidden: true },
    );
  const forms = truth.flatMap((codes) => {
    const hex = String.fromCharCode(...codes.map((code) => code - 1_000));
    const bytes = Buffer.from(hex, 'hex');
    return [hex, hex.toUpperCase(), bytes.toString('base64'), bytes.toString('latin1'), inspect(bytes).slice(8, 60)].map((form) => form.slice(0, 24));
  });
  return forms.filter((form) => text.includes(form)).length;
}
