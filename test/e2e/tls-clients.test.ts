/** Clients of other libraries go on talking when their TLS connection moves, again and again, and renew keys, pad, or ask for small records meanwhile. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import https from 'node:https';
import type { Server } from 'node:net';
import { type TestContext, test } from 'node:test';
import tls, { type TLSSocket } from 'node:tls';
import { isMoved } from '../../src/worker/handoff/tls/moved-socket.ts';
import { listenObserved, makeCredentials, makeServer, move } from '../unit/helpers/moving-tls.ts';

const credentials = makeCredentials();
const suites = ['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256'];

/** A server that answers each line, with many more bytes. */
interface Room extends AsyncDisposable {
  readonly port: number;
  readonly server: Server;
  /** What has the connection now. */
  socket(): TLSSocket;
  /** Moves what is there once everything is sent. @returns why not */
  move(): Promise<string | undefined>;
}

async function openRoom(options: tls.TlsOptions = {}): Promise<Room> {
  let current: TLSSocket | undefined;
  const server = makeServer({ ...credentials, ...options }, (socket) => {
    current = socket;
    let rest = '';
    socket.on('data', (bytes) => {
      const lines = `${rest}${bytes}`.split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) socket.write(`${'.'.repeat(3_000)} answer to ${line}\n`);
    });
  });
  const port = await listenObserved(server);
  const socket = () => current as TLSSocket;
  return {
    port,
    server,
    socket,
    async move() {
      do await new Promise((resolve) => setImmediate(setImmediate, resolve));
      while (socket().writableLength > 0);
      const moved = move(server, socket());
      return typeof moved === 'string' ? moved : undefined;
    },
    async [Symbol.asyncDispose]() {
      current?.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Talks by its standard streams. */
interface Talker extends AsyncDisposable {
  readonly child: ChildProcess;
  ask(line: string): Promise<void>;
  /** A command, which says this when it is done. */
  command(line: string, done: string): Promise<void>;
}

function talk(command: string, args: readonly string[]): Talker {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  const said = { out: '', err: '' };
  let wake = () => {};
  const hear = (from: keyof typeof said) => (bytes: Buffer) => {
    said[from] += bytes;
    wake();
  };
  child.stdout.on('data', hear('out'));
  child.stderr.on('data', hear('err'));
  child.on('exit', () => wake());
  child.stdin.on('error', () => {});
  const until = async (isSo: () => boolean) => {
    while (!isSo()) {
      assert.equal(child.exitCode, null, `${said.out.slice(-1_000)}${said.err}`);
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  return {
    child,
    async command(line, done) {
      said.err = '';
      child.stdin.write(`${line}\n`);
      await until(() => said.err.includes(done));
    },
    async ask(line) {
      child.stdin.write(`${line}\n`);
      await until(() => said.out.includes(`. answer to ${line}\n`) || said.out.includes(`. answer to ${line}\r\n`));
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    },
  };
}

const sClient = (port: number, ...args: string[]) => talk('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, ...args]);

function isThere(context: TestContext, command: string): boolean {
  const { status } = spawnSync(command, ['--version'], { stdio: 'ignore' });
  if (status !== 0) context.skip(`${command} is not installed here`);
  return status === 0;
}

for (const suite of suites) {
  test(`openssl s_client, ${suite}: it moves, and renews its keys in between`, { timeout: 60_000 }, async () => {
    await using room = await openRoom();
    await using client = sClient(room.port, '-ciphersuites', suite);
    await client.ask('hello');
    for (const command of [undefined, 'K', 'k', 'K', undefined]) {
      assert.equal(await room.move(), undefined);
      if (command) await client.command(command, 'KEYUPDATE');
      await client.ask(`after ${command} ${Math.random()}`);
    }
  });
}

test('openssl s_client renews its keys while OpenSSL serves it: it stays, and is served', { timeout: 60_000 }, async () => {
  await using room = await openRoom();
  await using client = sClient(room.port);
  await client.ask('hello');
  await client.command('K', 'KEYUPDATE');
  await client.ask('after it');
  assert.match((await room.move()) ?? 'moved', /could not be counted|has come in part/);
  await client.ask('and on');
});

test('openssl s_client asks for fragments of 512 bytes, and gets no larger ones', { timeout: 60_000 }, async () => {
  await using room = await openRoom();
  await using client = sClient(room.port, '-maxfraglen', '512');
  await client.ask('hello');
  for (const line of ['one', 'two']) {
    assert.equal(await room.move(), undefined);
    await client.ask(line);
  }
});

for (const padding of ['64', '256', '4096']) {
  test(`openssl s_client pads its records to ${padding} bytes: whether it moves or stays, it is served`, { timeout: 60_000 }, async () => {
    await using room = await openRoom();
    await using client = sClient(room.port, '-record_padding', padding);
    for (const line of ['one', 'two', 'three', 'four', 'five', 'six']) {
      await client.ask(line);
      const why = await room.move();
      assert.ok(why === undefined || /in part/.test(why), why);
    }
  });
}

test('openssl s_client without tickets moves', { timeout: 60_000 }, async () => {
  await using room = await openRoom();
  await using client = sClient(room.port, '-no_ticket');
  await client.ask('hello');
  assert.equal(await room.move(), undefined);
  await client.ask('after it');
});

test('A client with a certificate moves, and is known by it', { timeout: 60_000 }, async () => {
  await using room = await openRoom({ requestCert: true, rejectUnauthorized: true, ca: [credentials.cert] });
  const client = tls.connect({ port: room.port, host: '127.0.0.1', ...credentials, rejectUnauthorized: false });
  await once(client, 'secureConnect');
  const ask = async (line: string) => {
    client.write(`${line}\n`);
    let heard = '';
    while (!heard.endsWith('\n')) heard += (await once(client, 'data'))[0];
  };
  await ask('hello');
  const native = { ...room.socket().getPeerCertificate(true), issuerCertificate: undefined };
  assert.equal(await room.move(), undefined);
  await ask('after it');
  const { authorized } = room.socket();
  assert.deepEqual([authorized, isMoved(room.socket())], [true, true]);
  const certificate = room.socket().getPeerCertificate(true);
  assert.equal(certificate.issuerCertificate, certificate);
  assert.deepEqual({ ...certificate, issuerCertificate: undefined }, native);
  client.destroy();
});

const PYTHON = `
import socket, ssl, sys
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
with context.wrap_socket(socket.create_connection(('127.0.0.1', int(sys.argv[1])))) as s:
    for line in iter(sys.stdin.readline, ''):
        s.sendall(line.encode())
        answer = b''
        while not answer.endswith(b'\\n'):
            answer += s.recv(65536)
        print(answer.decode(), end='', flush=True)
`;

test('Python moves', { timeout: 60_000 }, async (context) => {
  if (!isThere(context, 'python3')) return;
  await using room = await openRoom();
  await using client = talk('python3', ['-c', PYTHON, String(room.port)]);
  for (const line of ['one', 'two', 'three']) {
    await client.ask(line);
    assert.equal(await room.move(), undefined);
  }
});

test('GnuTLS moves', { timeout: 60_000 }, async (context) => {
  if (!isThere(context, 'gnutls-cli')) return;
  await using room = await openRoom();
  await using client = talk('gnutls-cli', ['--insecure', '--no-ca-verification', '-p', String(room.port), '127.0.0.1']);
  for (const line of ['one', 'two', 'three']) {
    await client.ask(line);
    assert.equal(await room.move(), undefined);
  }
});

test('curl makes one connection for all its requests, though that moves after each', { timeout: 60_000 }, async (context) => {
  if (!isThere(context, 'curl')) return;
  let moves = 0;
  const moveWhenQuiet = (socket: TLSSocket) => {
    if (typeof move(server, socket) === 'object') moves++;
    else if (!socket.destroyed) setImmediate(moveWhenQuiet, socket);
  };
  const server = https.createServer(credentials, (request, response) => {
    response.end('x'.repeat(Number(request.url?.slice(1))));
    response.on('finish', () => setImmediate(() => setImmediate(moveWhenQuiet, request.socket as TLSSocket)));
  });
  const port = await listenObserved(server);
  const urls = [1, 100, 70_000, 3, 5].map((size) => `https://127.0.0.1:${port}/${size}`);
  const client = spawn('curl', [
    '-sk',
    '--http1.1',
    '--rate',
    '20/s',
    '-o',
    '/dev/null',
    '-w',
    '%{http_code} %{size_download} %{num_connects}\n',
    ...urls.flatMap((url) => ['-o', '/dev/null', url]),
  ]);
  let output = '';
  client.stdout.on('data', (bytes) => {
    output += bytes;
  });
  await once(client, 'close');
  server.closeAllConnections();
  server.close();
  assert.deepEqual(output.trim().split('\n'), ['200 1 1', '200 100 0', '200 70000 0', '200 3 0', '200 5 0']);
  assert.ok(moves >= 4);
});
