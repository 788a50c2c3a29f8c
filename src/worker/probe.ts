/**
 * Asks pages of this process's own HTTP servers, over a connection that it makes to itself and feeds in where the kernel's accept
 * would: HTTP/1.1, HTTP/2 and TLS servers, and what programs do with connections, see no difference, and nobody else can
 * come that way. Loaded only where something is to be asked.
 */
import { request as sendRequest } from 'node:http';
import type { Server, Socket } from 'node:net';
import type { Readable } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { toReport } from '../errors.ts';
import { type ConnectionHandle, keepCounted, receive } from '../node/connection.ts';
import { makePair } from '../node/pair.ts';
import { BODY_LIMIT, type HealthFailure, type HealthRequest, type HealthTerms, nameRequest } from '../protocol/worker.ts';
import { isHttpServer, type Servers } from './servers.ts';

/** Who asks. */
export interface Prober {
  readonly servers: Servers;
  readonly userAgent: string;
  /** Gives up. */
  readonly signal?: AbortSignal;
}

/** One question to one server. */
interface Question {
  readonly server: Server;
  readonly path: string;
  readonly userAgent: string;
  readonly signal: AbortSignal;
}

/** As much of it as has come. */
interface Answer {
  status?: number;
  body?: string;
}

const HOST = 'localhost';
/** What the program's end of a connection has to close by itself once ours is closed. */
const CLOSE_ALLOWANCE_MS = 1_000;

/** Asks every page once. @returns the first that did not answer as expected; null: all did */
export async function probe(prober: Prober, terms: HealthTerms): Promise<HealthFailure | null> {
  const failures = await Promise.all(terms.requests.map((request) => probePage(prober, request, terms)));
  return failures.find((failure) => failure !== null) ?? null;
}

/** Where several servers can be meant, one that answers as expected is enough. */
async function probePage(prober: Prober, request: HealthRequest, terms: HealthTerms): Promise<HealthFailure | null> {
  const { port, path } = request;
  const name = nameRequest(request);
  const all = prober.servers.list().map(({ server }) => server);
  const candidates = all.filter((server) => server.listening && speaksHttp(server) && (port === null || listensOn(server, port)));
  if (candidates.length === 0) return { request: name, error: `no HTTP server listens${port === null ? '' : ` on port ${port}`}` };
  const failures = await Promise.all(candidates.map((server) => probeServer(prober, server, path, terms)));
  const [first] = failures;
  return first === undefined || failures.includes(undefined) ? null : { request: name, ...first };
}

async function probeServer(
  { servers, userAgent, signal }: Prober,
  server: Server,
  path: string,
  { statuses, timeoutMs }: HealthTerms,
): Promise<Omit<HealthFailure, 'request'> | undefined> {
  const limit = new AbortController();
  const given = new Promise<never>((_, reject) => limit.signal.addEventListener('abort', () => reject(limit.signal.reason)));
  const timer = setTimeout(() => limit.abort(new Error(`no answer within ${timeoutMs / 1000} s`)), timeoutMs);
  const giveUp = () => limit.abort(new Error('given up'));
  signal?.addEventListener('abort', giveUp);
  const answer: Answer = {};
  try {
    await Promise.race([given, ask(servers, { server, path, userAgent, signal: limit.signal }, answer)]);
    const { status = 0 } = answer;
    return statuses.some(([from, to]) => from <= status && status <= to) ? undefined : answer;
  } catch (error) {
    return { ...answer, error: toReport(error).message };
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', giveUp);
  }
}

async function ask(servers: Servers, question: Question, answer: Answer): Promise<void> {
  const { server, signal } = question;
  const { client, handle, port } = await makePair(signal);
  servers.privatePorts.add(port);
  const forget = () => servers.privatePorts.delete(port);
  try {
    const socket = deliver(server, handle);
    if (socket === undefined) forget();
    if (socket === undefined) throw new Error('its server takes no connections');
    socket.once('close', forget);
    client.once('close', () => setTimeout(() => socket.destroy(), CLOSE_ALLOWANCE_MS).unref());
    const secured = isTlsServer(server) ? await secure(client) : undefined;
    const isHttp2 = secured === undefined ? isHttp2Server(server) : secured.alpnProtocol === 'h2';
    await (isHttp2 ? askHttp2 : askHttp1)(secured ?? client, question, answer);
  } finally {
    client.destroy();
  }
}

/** The program gets the connection as one that nobody counts: not the server's limit, nor whoever waits for the server to close. */
function deliver(server: Server, handle: ConnectionHandle): Socket | undefined {
  const { maxConnections } = server;
  server.maxConnections = Number.POSITIVE_INFINITY;
  const arrival = receive(server, handle);
  server.maxConnections = maxConnections;
  if (arrival === undefined) return undefined;
  keepCounted(arrival.socket)();
  arrival.announce();
  return arrival.socket;
}

/** The certificate may say what it likes: it is our own. */
async function secure(client: Socket): Promise<TLSSocket> {
  const { connect } = await import('node:tls');
  const secured = connect({ socket: client, servername: HOST, ALPNProtocols: ['h2', 'http/1.1'], rejectUnauthorized: false });
  await new Promise<void>((resolve, reject) => {
    secured.once('secureConnect', resolve);
    secured.on('error', reject);
  });
  return secured;
}

function askHttp1(socket: Socket, { path, userAgent }: Question, answer: Answer): Promise<void> {
  return new Promise((resolve, reject) => {
    const sent = sendRequest({ createConnection: () => socket, path, headers: { Host: HOST, 'User-Agent': userAgent } });
    sent.on('error', reject);
    sent.once('response', (response) => {
      answer.status = response.statusCode ?? 0;
      void readBody(response, answer).then(resolve, reject);
    });
    sent.end();
  });
}

async function askHttp2(socket: Socket, { path, userAgent }: Question, answer: Answer): Promise<void> {
  const { connect } = await import('node:http2');
  const session = connect(`${'encrypted' in socket ? 'https' : 'http'}://${HOST}`, { createConnection: () => socket });
  try {
    await new Promise<void>((resolve, reject) => {
      session.on('error', reject);
      const stream = session.request({ ':authority': HOST, ':path': path, 'user-agent': userAgent });
      stream.on('error', reject);
      stream.once('response', (headers) => {
        answer.status = headers[':status'] ?? 0;
        void readBody(stream, answer).then(resolve, reject);
      });
    });
  } finally {
    session.destroy();
  }
}

/** Keeps the first bytes, and reads the rest: a program may not like to be left in the middle. */
async function readBody(stream: Readable, answer: Answer): Promise<void> {
  let first = Buffer.alloc(0);
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    if (first.length >= BODY_LIMIT) continue;
    first = Buffer.concat([first, chunk]).subarray(0, BODY_LIMIT);
    answer.body = printable(first);
  }
}

/** A character that was cut in half is left out. */
function printable(bytes: Buffer): string {
  return new TextDecoder()
    .decode(bytes, { stream: true })
    .replace(/[\p{C}\s]+/gu, ' ')
    .trim();
}

function speaksHttp(server: Server): boolean {
  return isHttpServer(server) || isHttp2Server(server);
}

function isHttp2Server(server: Server): boolean {
  return 'updateSettings' in server;
}

function isTlsServer(server: Server): boolean {
  return 'setSecureContext' in server;
}

function listensOn(server: Server, port: number): boolean {
  const address = server.address();
  return typeof address === 'object' && address?.port === port;
}
