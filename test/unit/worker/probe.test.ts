/** Pages of servers of every kind, asked over connections that this process makes to itself. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import http2, { type Http2ServerRequest, type Http2ServerResponse } from 'node:http2';
import https from 'node:https';
import net, { type Server } from 'node:net';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { HealthFailure, HealthTerms } from '../../../src/protocol/worker.ts';
import { probe } from '../../../src/worker/probe.ts';
import { type Servers, type WatchedServer, watchServers } from '../../../src/worker/servers.ts';
import { poll, temporaryFolder } from '../../helpers/rig.ts';
import { dial, makeCertificate } from '../../helpers/wire.ts';

type Handler = (request: IncomingMessage | Http2ServerRequest, response: ServerResponse | Http2ServerResponse) => void;

interface Host extends AsyncDisposable {
  readonly servers: Servers;
  readonly port: number;
  /** What was seen of each request. */
  readonly seen: string[];
  ask(terms?: Partial<HealthTerms>, signal?: AbortSignal): Promise<HealthFailure | null>;
}

const servers = watchServers();
const page = { port: null, path: '/healthz' };

function answering(status: number, body = ''): Handler {
  return (_, response) => void (response as ServerResponse).writeHead(status).end(body);
}

/** Servers that listen, and are closed in the end. */
async function host(made: readonly Server[], listening: object = { port: 0, host: '127.0.0.1' }): Promise<Host> {
  const seen: string[] = [];
  for (const server of made) {
    server.on('request', (request: IncomingMessage) => {
      const { httpVersion, method, url, headers, socket } = request;
      seen.push([httpVersion, method, url, headers.host ?? headers[':authority'], headers['user-agent'], socket.remoteAddress].join(' '));
    });
    await new Promise<void>((resolve) => void server.listen(listening, resolve));
  }
  const [first] = made;
  const address = first?.address();
  const ask: Host['ask'] = (terms, signal) =>
    probe({ servers, userAgent: 'tester', ...(signal ? { signal } : {}) }, { requests: [page], statuses: [[200, 299]], timeoutMs: 10_000, ...terms });
  const close = async () => {
    for (const server of made) await new Promise((resolve) => void server.close(resolve)); // a connection that is left would hold it
  };
  return { servers, seen, ask, port: typeof address === 'object' ? (address?.port ?? 0) : 0, [Symbol.asyncDispose]: close };
}

const folder = temporaryFolder();
after(() => folder[Symbol.dispose]());
const { files } = makeCertificate(folder.path);
const secrets = { key: readFileSync(files.KEY), cert: readFileSync(files.CERT) };

const kinds: Readonly<Record<string, readonly [version: string, make: (handler: Handler) => Server]>> = {
  'HTTP/1.1': ['1.1', (handler) => http.createServer(handler)],
  HTTPS: ['1.1', (handler) => https.createServer(secrets, handler)],
  'HTTP/2, clear': ['2.0', (handler) => http2.createServer(handler)],
  'HTTP/2, encrypted': ['2.0', (handler) => http2.createSecureServer(secrets, handler)],
  'HTTP/2, encrypted, HTTP/1.1 allowed': ['2.0', (handler) => http2.createSecureServer({ ...secrets, allowHTTP1: true }, handler)],
};

for (const [kind, [version, make]] of Object.entries(kinds)) {
  test(`${kind}: an expected status passes; another one is told with its first bytes`, async () => {
    await using well = await host([make(answering(204))]);
    assert.equal(await well.ask(), null);
    assert.deepEqual(well.seen, [`${version} GET /healthz localhost tester 127.0.0.1`]);
    await using ill = await host([make(answering(503, 'out\nof \u0007disk'))]);
    assert.deepEqual(await ill.ask({ requests: [{ port: ill.port, path: '/healthz' }] }), {
      request: `:${ill.port}/healthz`,
      status: 503,
      body: 'out of disk',
    });
  });

  test(`${kind}: a server that does not answer in time`, async () => {
    await using mute = await host([make(() => {})]);
    assert.deepEqual(await mute.ask({ timeoutMs: 200 }), { request: '/healthz', error: 'no answer within 0.2 s' });
  });
}

test('A server on a Unix socket', async () => {
  await using well = await host([http.createServer(answering(200))], { path: join(folder.path, 'sock') });
  assert.equal(await well.ask(), null);
});

test('A server that takes no more connections is asked nevertheless, and its count stays', async () => {
  const server = http.createServer(answering(200));
  await using well = await host([server]);
  server.maxConnections = 1;
  using client = await dial({ port: well.port, host: '127.0.0.1' });
  await poll(
    () => servers.count() === 1,
    () => 'it was not accepted',
  );
  assert.equal(await well.ask(), null);
  assert.equal(server.maxConnections, 1);
  assert.equal(await new Promise((resolve) => server.getConnections((_, count) => resolve(count))), 1);
  assert.equal(client.ended, undefined);
});

test('A thousand probes leave nothing: no descriptor, no connection', async () => {
  const made = Object.values(kinds).map(([, make]) => make(answering(200, 'x'.repeat(1000))));
  await using well = await host(made);
  const sockets = () => readdirSync('/proc/self/fd').length;
  const round = () => Promise.all(made.map((server) => well.ask({ requests: [{ port: (server.address() as net.AddressInfo).port, path: '/' }] })));
  await round();
  await poll(
    () => servers.privatePorts.size === 0,
    () => 'connections are left',
  );
  const before = sockets();
  for (let turn = 0; turn < 200; turn++) assert.deepEqual(await round(), [null, null, null, null, null]);
  await poll(
    () => servers.privatePorts.size === 0,
    () => 'connections are left',
  );
  await poll(
    () => sockets() <= before,
    () => `${sockets()} descriptors instead of ${before}`,
  );
});

test('While it is asked, nobody counts the connection', async () => {
  const counts: unknown[] = [];
  const made = Object.values(kinds).map(([, make]) => {
    const server = make((request, response) => {
      const { sockets, secure, sessions } = servers.list().find((watched) => watched.server === server) as WatchedServer;
      server.getConnections((_, count) => {
        counts.push([servers.count(), sockets.size, secure.size, sessions.size, count]);
        answering(200)(request, response);
      });
    });
    return server;
  });
  await using well = await host(made);
  assert.equal(await well.ask(), null);
  assert.deepEqual(counts, Array(5).fill([0, 0, 0, 0, 0]));
});

test('Several servers: one that answers as expected is enough, unless the port says which', async () => {
  const bad = http.createServer(answering(404));
  await using well = await host([bad, http.createServer(answering(200))]);
  assert.equal(await well.ask(), null);
  assert.deepEqual(await well.ask({ requests: [{ port: well.port, path: '/x' }] }), { request: `:${well.port}/x`, status: 404 });
});

test('Of several pages each must answer; redirects are not followed; other statuses may be expected', async () => {
  const byPath: Record<string, number> = { '/a': 200, '/b': 302, '/c': 401 };
  await using well = await host([http.createServer((request, response) => answering(byPath[request.url ?? ''] ?? 500)(request, response))]);
  const pages = (...paths: string[]) => paths.map((path) => ({ port: null, path }));
  assert.deepEqual(await well.ask({ requests: pages('/a', '/b', '/c') }), { request: '/b', status: 302 });
  assert.equal(
    await well.ask({
      requests: pages('/a', '/b', '/c'),
      statuses: [
        [200, 302],
        [401, 401],
      ],
    }),
    null,
  );
});

test('Without an HTTP server the failure says so', async () => {
  await using raw = await host([net.createServer()]);
  assert.deepEqual(await raw.ask(), { request: '/healthz', error: 'no HTTP server listens' });
  assert.deepEqual(await raw.ask({ requests: [{ port: 1, path: '/' }] }), { request: ':1/', error: 'no HTTP server listens on port 1' });
});

test('A long body is cut in no character; one that does not end is a failure', async () => {
  const long = await host([http.createServer(answering(500, 'ä'.repeat(99) + '😀'.repeat(99)))]);
  assert.equal((await long.ask())?.body, 'ä'.repeat(99));
  await long[Symbol.asyncDispose]();
  await using endless = await host([http.createServer((_, response) => void response.writeHead(200).write('begun'))]);
  assert.deepEqual(await endless.ask({ timeoutMs: 300 }), { request: '/healthz', status: 200, body: 'begun', error: 'no answer within 0.3 s' });
});

test('A server that closes the connection, and one that speaks no HTTP', async () => {
  const closing = await host([http.createServer((request) => void request.socket.destroy())]);
  assert.deepEqual(await closing.ask(), { request: '/healthz', error: 'socket hang up' });
  await closing[Symbol.asyncDispose]();
  const garbled = http.createServer();
  garbled.on('connection', (socket: net.Socket) => void socket.write('SSH-2.0\r\n'));
  await using other = await host([garbled]);
  assert.match((await other.ask())?.error ?? '', /Parse Error/);
});

test('It can be given up', async () => {
  await using mute = await host([http.createServer(() => {})]);
  const abort = new AbortController();
  const asked = mute.ask({}, abort.signal);
  abort.abort();
  assert.deepEqual(await asked, { request: '/healthz', error: 'given up' });
});

test('A program that emits in a way of its own is asked through it, and finds it as it left it', async () => {
  class Loud extends http.Server {
    readonly heard: string[] = [];
    override emit(event: string | symbol, ...args: unknown[]): boolean {
      this.heard?.push(String(event));
      return Reflect.apply(super.emit, this, [event, ...args]) as boolean;
    }
  }
  class Guarded extends http.Server {}
  const refuse = () => assert.fail('not to be replaced');
  Object.defineProperty(Guarded.prototype, 'emit', { get: () => http.Server.prototype.emit, set: refuse });
  const own = http.createServer(answering(200));
  const heard: unknown[] = [];
  const wrapped = new Proxy(own.emit, { apply: (emit, self, args) => heard.push(args[0]) && Reflect.apply(emit, self, args) });
  own.emit = wrapped;
  const [loud, guarded] = [new Loud(answering(200)), new Guarded(answering(200))];
  await using well = await host([own, loud, guarded]);
  for (const server of [own, loud, guarded])
    assert.equal(await well.ask({ requests: [{ port: (server.address() as net.AddressInfo).port, path: '/' }] }), null);
  assert.equal(own.emit, wrapped);
  assert.deepEqual(heard.slice(-2), ['connection', 'request']);
  assert.deepEqual(loud.heard.slice(-2), ['connection', 'request']);
  assert.deepEqual([Object.hasOwn(loud, 'emit'), Object.hasOwn(guarded, 'emit')], [false, false]);
});
