/** What is said to the example programs, byte by byte, and what of their answers may differ from one run to the next. */
import { createHash } from 'node:crypto';
import { dial } from '../helpers/wire.ts';

/** What is sent, and what is awaited before the next is sent. */
type Step = readonly [send: string, until?: string];

/** One connection. The client closes it if the last step awaits something, otherwise the server does. */
export interface Conversation {
  readonly name: string;
  readonly steps: readonly Step[];
}

/** What came of it. */
export interface Answer {
  readonly name: string;
  readonly text: string;
  /** `FIN`, or the code of the error. */
  readonly ended: string;
}

const LONG = 10_000;
const host = 'Host: example\r\n';
const last = 'Connection: close\r\n';
const handshake = `${host}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n`;

/** For any HTTP server with the routes of the examples. */
export const overHttp: readonly Conversation[] = [
  once('GET', 'GET / HTTP/1.1', last),
  {
    name: 'keep-alive',
    steps: [[request('GET / HTTP/1.1'), 'hello'], [request('GET /json?a=1&b=%20 HTTP/1.1'), '}'], [request('GET / HTTP/1.1', last)]],
  },
  { name: 'pipelined', steps: [[request('GET / HTTP/1.1') + request('GET /nowhere HTTP/1.1') + request('GET / HTTP/1.1', last)]] },
  once('HEAD', 'HEAD / HTTP/1.1', last),
  once('404', 'GET /nowhere HTTP/1.1', last),
  once('another method', 'DELETE / HTTP/1.1', last),
  once('HTTP/1.0', 'GET / HTTP/1.0'),
  once('POST', 'POST /echo HTTP/1.1', `${last}Content-Type: text/plain\r\nContent-Length: 4\r\n`, 'body'),
  once(
    'a chunked body with a trailer',
    'POST /echo HTTP/1.1',
    `${last}Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n`,
    '4\r\nbody\r\n0\r\nX-Sum: 1\r\n\r\n',
  ),
  {
    name: 'Expect: 100-continue',
    steps: [[request('POST /echo HTTP/1.1', `${last}Content-Type: text/plain\r\nExpect: 100-continue\r\nContent-Length: 4\r\n`), '100 Continue'], ['body']],
  },
  once('a stream', 'GET /stream HTTP/1.1', last),
  once('early hints', 'GET /early HTTP/1.1', last),
  once('a large body', 'GET /large HTTP/1.1', last),
  once('a file', 'GET /file HTTP/1.1', last),
  once('an error', 'GET /error HTTP/1.1', last),
  once('cut off', 'GET /cut HTTP/1.1', last),
  once('no upgrade', 'GET / HTTP/1.1', `${last}Upgrade: else\r\n`),
  once('malformed', 'GARBAGE'),
];

/** For a server that takes any upgrade. */
export const upgrade: Conversation = {
  name: 'an upgrade',
  steps: [
    [`GET /up HTTP/1.1\r\n${host}Connection: Upgrade\r\nUpgrade: echo\r\n\r\nhead `, 'head '],
    ['and on', 'and on'],
  ],
};

/** The program closes its servers, and ends by itself. */
export const closing: Conversation = once('close', 'GET /close HTTP/1.1', last);

/** For the `ws` example; the last one ends it. */
export const overWebSocket: readonly Conversation[] = [
  once('no WebSocket', 'GET / HTTP/1.1', last),
  once('another path', 'GET /nowhere HTTP/1.1', handshake.replace(host, '')),
  webSocket('/socket', '', [['text', 'text'], ['\0\x01', '\0\x01'], ['end']]),
];

/** For the socket.io example; the last one ends it. */
export const overSocketIo: readonly Conversation[] = [
  once('polling', 'GET /socket.io/?EIO=4&transport=polling HTTP/1.1', last),
  once('an unknown session', 'GET /socket.io/?EIO=4&transport=polling&sid=none HTTP/1.1', last),
  once('the client', 'GET /socket.io/socket.io.js HTTP/1.1', last),
  webSocket('/socket.io/?EIO=4&transport=websocket', 'sid', [['40', 'welcome'], ['420["echo","text"]', '430["text"]'], ['42["end"]']]),
];

/** Who talks before the greeting is turned away. */
const greeting: Step = ['', '220 '];
const hello: Step = ['EHLO client\r\n', '250 '];

/** For the smtp-server example; the last one ends it. */
export const overSmtp: readonly Conversation[] = [
  {
    name: 'a mail',
    steps: [greeting, hello, ['MAIL FROM:<a@b.c>\r\n', '250 '], ['RCPT TO:<d@e.f>\r\n', '250 '], ['DATA\r\n', '354 '], ['text\r\n.\r\n', '250 '], ['QUIT\r\n']],
  },
  { name: 'a handshake that is broken off', steps: [greeting, hello, ['STARTTLS\r\n', '220 ']] },
  { name: 'the end', steps: [greeting, ['HELO end\r\n', '250 '], ['QUIT\r\n']] },
];

const line = 'PROXY TCP4 10.1.2.3 10.0.0.1 1 2\r\n';

/** For a server behind a proxy that names its clients; the last one ends it. */
export const overProxyLine: readonly Conversation[] = [
  { name: 'keep-alive', steps: [[line + request('GET / HTTP/1.1'), ':1'], [request('GET /again HTTP/1.1'), ':1'], [request('GET / HTTP/1.1', last)]] },
  { name: 'pipelined', steps: [[line + request('GET / HTTP/1.1') + request('GET /again HTTP/1.1', last)]] },
  { name: 'no line', steps: [[request('GET / HTTP/1.1', last)]] },
  { name: 'the end', steps: [[line + request('GET /close HTTP/1.1', last)]] },
];

/** Holds all of them, one after the other. */
export async function converse(port: number, conversations: readonly Conversation[]): Promise<Answer[]> {
  const answers: Answer[] = [];
  for (const { name, steps } of conversations) {
    using wire = await dial({ port, host: '127.0.0.1' });
    for (const [send, until] of steps) {
      const from = wire.text.length;
      wire.socket.write(send, 'latin1');
      if (until !== undefined) await wire.until(({ text }) => text.indexOf(until, from) >= 0);
    }
    const ended = steps.at(-1)?.[1] === undefined ? await wire.end() : 'by the client';
    answers.push({ name, text: normalise(wire.text), ended });
  }
  return answers;
}

/** Dates, identifiers that the program draws by lot, durations. */
function normalise(text: string): string {
  const same = text.replaceAll(/^(Date|Request-Id|X-Response-Time|Response-Time): .*\r$/gim, '$1: …\r').replaceAll(/("sid":")[\w-]{20}/g, '$1…');
  return same.length <= LONG ? same : `${same.slice(0, 500)}… ${same.length} bytes, ${createHash('sha256').update(same).digest('hex')}`;
}

function once(name: string, line: string, headers = '', body = ''): Conversation {
  return { name, steps: [[request(line, headers) + body]] };
}

function request(line: string, headers = ''): string {
  return `${line}\r\n${host}${headers}\r\n`;
}

function webSocket(path: string, welcome: string, messages: readonly Step[]): Conversation {
  const steps = messages.map(([text, until]): Step => (until === undefined ? [frame(1, text)] : [frame(1, text), until]));
  const close = steps.pop() as Step;
  return {
    name: `WebSocket ${path}`,
    steps: [[`GET ${path} HTTP/1.1\r\n${handshake}\r\n`, welcome || 'here'], ...steps, [close[0], '\x88'], [frame(8, '\x03\xe8')]],
  };
}

/** Masked with zeros, so its payload is as it is. */
function frame(opcode: number, payload: string): string {
  return `${String.fromCharCode(0x80 | opcode, 0x80 | payload.length)}\0\0\0\0${payload}`;
}
