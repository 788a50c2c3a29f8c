/** Who talks to `speaks.mjs`, and over which protocols: one table. What is not installed is said by `missing`. */
import { existsSync } from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import { delimiter, join } from 'node:path';
import tls from 'node:tls';
import { fileURLToPath } from 'node:url';
import { dialWebSocket, startTalk } from '../web-socket.ts';
import { startNginx } from './nginx.ts';
import { type Commands, isRight, keepAsking, PAUSE_MS, type Protocol, readReports, type Talker, talkOver, talkThrough } from './talker.ts';

/** Where it talks to. */
export interface Target {
  readonly protocol: Protocol;
  readonly port: number;
  /** The certificate, and the file that it is in. */
  readonly ca: string;
  readonly caFile: string;
  /** What it writes goes here. */
  readonly folder: string;
  /** How long Node's own clients wait between two questions. */
  readonly pauseMs?: number;
}

export interface Client {
  readonly name: string;
  readonly speaks: readonly Protocol[];
  /** The command that it is, where it is one. */
  readonly needs?: string;
  /** How many it opens; 1 unless it says so. */
  readonly connections?: number;
  /** It leaves a connection on which something comes while nothing was asked, as HTTP/2 servers may send settings; and opens another one. */
  readonly isShy?: boolean;
  /** The program that it talks to, if it is not `speaks.mjs`. */
  readonly script?: string;
  start(target: Target): Talker | Promise<Talker>;
}

const host = '127.0.0.1';
const suites = ['TLS_AES_256_GCM_SHA384', 'TLS_AES_128_GCM_SHA256', 'TLS_CHACHA20_POLY1305_SHA256'];

export const clients: readonly Client[] = [
  { name: "Node's https agent", speaks: ['https', 'h2'], start: askByAgent },
  { name: "Node's http2", speaks: ['h2c', 'h2'], start: askByHttp2 },
  { name: "Node's tls", speaks: ['tls'], start: async (target) => talkOver(await dialTls(target), target.pauseMs) },
  { name: 'ws', speaks: ['wss'], start: talkByWebSocket },
  { name: 'curl', speaks: ['https', 'h2'], needs: 'curl', start: askByCurl }, // h2c by prior knowledge: 7.88 fails at its second request, of whatever server
  { name: 'h2load', speaks: ['h2c', 'h2'], needs: 'h2load', connections: 5, start: askByH2load },
  { name: 'Python', speaks: ['https', 'tls'], needs: 'python3', start: askByPython },
  { name: 'nginx', speaks: ['https', 'h2c', 'h2'], needs: 'nginx', isShy: true, start: askThroughNginx },
  ...suites.map((suite): Client => ({ name: `s_client, ${suite}`, speaks: ['tls'], needs: 'openssl', start: openssl('-ciphersuites', suite) })),
  { name: 's_client, fragments of 512', speaks: ['tls'], needs: 'openssl', start: openssl('-maxfraglen', '512') },
  { name: 's_client, key updates', speaks: ['tls'], needs: 'openssl', start: opensslWithKeyUpdates },
  { name: 'GnuTLS', speaks: ['tls'], needs: 'gnutls-cli', start: (target) => gnutls(target) },
  {
    name: 'GnuTLS, key updates',
    speaks: ['tls'],
    needs: 'gnutls-cli',
    start: (target) => gnutls(target, updateKeys('^rekey1^\n', '^rekey^\n', /Rekey was completed$/)),
  },
];

/** Why a client can't take part; undefined: it can. */
export function missing({ needs }: Client): string | undefined {
  if (needs === undefined) return undefined;
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin'];
  return folders.some((folder) => existsSync(join(folder, needs))) ? undefined : `needs ${needs}`;
}

/** On one connection, and without a pause in which the agent would look whether that is still open. */
function askByAgent({ port, ca, pauseMs = PAUSE_MS }: Target): Talker {
  const agent = new https.Agent({ keepAlive: true, maxSockets: 1, ca, ALPNProtocols: ['http/1.1'] });
  return keepAsking({
    ask: (number) => askHttp(https.request({ host, port, path: `/${number}`, agent }), 'https', number),
    close: () => agent.destroy(),
    pauseMs,
  });
}

async function askHttp(request: http.ClientRequest, protocol: Protocol, number: number): Promise<string | undefined> {
  const response = await new Promise<http.IncomingMessage>((resolve, reject) => request.once('response', resolve).once('error', reject).end());
  let text = '';
  for await (const part of response.setEncoding('latin1')) text += part;
  return response.statusCode === 200 && isRight(protocol, number, text) ? undefined : `question ${number}: ${response.statusCode} ${text}`;
}

/** Several streams at once, and bodies that need window updates. A GOAWAY is a mistake. */
function askByHttp2({ protocol, port, ca, pauseMs = PAUSE_MS }: Target): Talker {
  const session = http2.connect(`${protocol === 'h2' ? 'https' : 'http'}://${host}:${port}`, { ca });
  const wrong: string[] = [];
  session.on('error', ({ message }) => wrong.push(message)).on('goaway', (code) => wrong.push(`GOAWAY ${code}`));
  const body = 'b'.repeat(30_000);
  const questions = [
    ['/1', ''],
    ['/bytes/100000', ''],
    ['/2', body],
  ] as const;
  const rest = { '/bytes/100000': 'x'.repeat(100_000), '/1': '', '/2': body };
  const ask = async () => {
    const answers = await Promise.all(questions.map(([path, sent]) => askStream(session, path, sent)));
    const isBad = (text: string, index: number) => text.replace(/^\d+ /, '') !== `${questions[index]?.[0]} ${rest[questions[index]?.[0] ?? '/1']}`.trimEnd();
    return wrong[0] ?? answers.find(isBad)?.slice(0, 100);
  };
  return keepAsking({ ask, close: () => session.close(), pauseMs });
}

function askStream(session: http2.ClientHttp2Session, path: string, body: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const stream = session.request({ ':path': path, ':method': 'POST' });
    stream.setEncoding('latin1').on('data', (part: string) => {
      text += part;
    });
    stream.once('error', reject).once('end', () => resolve(text));
    stream.once('close', () => reject(new Error(`the stream ended with ${stream.rstCode}`)));
    stream.end(body);
  });
}

function dialTls({ port, ca }: Target): Promise<tls.TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = tls.connect({ host, port, ca, servername: 'localhost' }, () => resolve(socket));
    socket.once('error', reject);
  });
}

/** Messages of both are counted. */
async function talkByWebSocket({ port, ca }: Target): Promise<Talker> {
  const wire = await dialWebSocket(`wss://${host}:${port}/`, { ca });
  const talk = startTalk(wire);
  const mistakes: string[] = [];
  return {
    get answered() {
      return talk.count;
    },
    get mistakes() {
      return wire.ended === undefined ? mistakes : [`ended with ${wire.ended}`];
    },
    async [Symbol.asyncDispose]() {
      mistakes.push(...(await talk.stop()).mistakes);
    },
  };
}

function askByCurl(target: Target): Talker {
  const { protocol, port, caFile } = target;
  const version = protocol === 'https' ? '--http1.1' : '--http2';
  const args = ['--silent', '--no-buffer', version, '--cacert', caFile, '--rate', '40/s', '--write-out', ' %{http_code}\\n'];
  return readReports({
    command: 'curl',
    args: [...args, `https://${host}:${port}/[1-100000]`],
    file: join(target.folder, 'answers'),
    check: (line, number) => isRight(protocol, number, line.replace(/ 200$/, '')),
  });
}

/** Five connections, up to four streams on each. */
function askByH2load({ protocol, port, folder }: Target): Talker {
  const file = join(folder, 'answers');
  const load = ['--clients', '5', '--max-concurrent-streams', '4', '--requests', '1000000', '--rps', '30'];
  return readReports({
    command: 'h2load',
    args: [...load, `--log-file=${file}`, `${protocol === 'h2c' ? 'http' : 'https'}://${host}:${port}/bytes/5000`],
    file,
    check: (line) => (/^\d+\t-?\d+\t\d+$/.test(line) ? line.split('\t')[1] === '200' : undefined),
  });
}

function askByPython({ protocol, port, caFile, folder }: Target): Talker {
  return readReports({
    command: 'python3',
    args: [fileURLToPath(new URL('asks-again.py', import.meta.url)), protocol, String(port), caFile],
    file: join(folder, 'answers'),
    check: (line, number) => isRight(protocol, number, line),
  });
}

/** It keeps its connection to us, and must not try again. */
async function askThroughNginx(target: Target): Promise<Talker> {
  const { socketPath, stop } = await startNginx(target);
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const ask = (number: number) => askHttp(http.request({ socketPath, path: `/${number}`, agent }), target.protocol, number);
  const talker = keepAsking({ ask, close: () => agent.destroy() });
  return {
    get answered() {
      return talker.answered;
    },
    mistakes: talker.mistakes,
    async [Symbol.asyncDispose]() {
      await talker[Symbol.asyncDispose]();
      await stop();
    },
  };
}

function openssl(...options: string[]): Client['start'] {
  return (target) => sClient(target, ['-tls1_3', ...options]);
}

/** `k` updates its own keys, `K` asks for ours, too. */
function opensslWithKeyUpdates(target: Target): Talker {
  return sClient(target, ['-tls1_3'], updateKeys('k\n', 'K\n', /KEYUPDATE$/));
}

function sClient({ port, caFile }: Target, options: readonly string[], commands?: Commands): Talker {
  return talkThrough('openssl', ['s_client', '-connect', `${host}:${port}`, '-CAfile', caFile, ...options], commands);
}

function gnutls({ port, caFile }: Target, commands?: Commands): Talker {
  return talkThrough('gnutls-cli', ['--inline-commands', '--x509cafile', caFile, '--port', String(port), host], commands);
}

/** Now and then, once it has moved: one that has updated its keys before stays where it is. */
function updateKeys(ours: string, both: string, obeyed: RegExp): Commands {
  return { before: (number, generation) => (generation < 2 ? undefined : number % 5 === 0 ? both : number % 3 === 0 ? ours : undefined), obeyed };
}
