/** One connection of a client, whatever is spoken on it. Nothing is retried: a request that was sent and not answered is a failed one. */
import http2 from 'node:http2';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { type RawData, WebSocket } from 'ws';

/** What a program can speak; WebSockets come in both forms. */
export const protocols = ['http', 'ws', 'https', 'wss', 'h2c', 'h2'] as const;
export type Protocol = (typeof protocols)[number];

export interface Connection {
  /** It can't be used any more, or should not be. */
  readonly hasEnded: boolean;
  /** Settles when it is there, or can't be. */
  readonly ready: Promise<unknown>;
  /** undefined: answered; otherwise why not. `/kb` is answered with a KB. */
  post(path: '/' | '/kb', keepsAlive: boolean): Promise<string | undefined>;
  close(): void;
}

const host = '127.0.0.1';
const BODY = 'x'.repeat(256);
const LOST_MS = 10_000;

/** Whether bytes of it are encrypted. */
export function isEncrypted(protocol: Protocol): boolean {
  return protocol === 'https' || protocol === 'wss' || protocol === 'h2';
}

/** Opens one. */
export function open(port: number, protocol: Protocol): Connection {
  if (protocol === 'h2c' || protocol === 'h2') return new Http2Connection(port, protocol);
  if (protocol === 'ws' || protocol === 'wss') return new WebSocketConnection(port, protocol);
  return new Http1Connection(port, protocol);
}

/** A socket for HTTP/1.1. No session is resumed. */
export function dial(port: number, protocol: Protocol): Socket {
  const target = { port, host, noDelay: true };
  return isEncrypted(protocol) ? connectTls({ ...target, rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] }) : connect(target);
}

class Http1Connection implements Connection {
  hasEnded = false;
  readonly ready: Promise<void>;
  readonly #socket: Socket;
  #text = '';
  #wake: () => void = () => {};
  #reason = 'FIN';

  constructor(port: number, protocol: Protocol) {
    this.#socket = dial(port, protocol);
    const connected = isEncrypted(protocol) ? 'secureConnect' : 'connect';
    this.ready = new Promise((resolve) => this.#socket.once(connected, resolve).once('close', () => resolve()));
    this.#socket.setEncoding('latin1').on('data', (part: string) => {
      this.#text += part;
      this.#wake();
    });
    this.#socket.on('error', (error: NodeJS.ErrnoException) => this.#end(error.code ?? error.message));
    this.#socket.on('end', () => this.#end('FIN'));
  }

  async post(path: string, keepsAlive: boolean): Promise<string | undefined> {
    await this.ready;
    if (this.hasEnded) return this.#reason;
    this.#text = '';
    this.#socket.write(`POST ${path} HTTP/1.1\r\nHost: x\r\n${keepsAlive ? '' : 'Connection: close\r\n'}Content-Length: ${BODY.length}\r\n\r\n${BODY}`);
    const giveUp = setTimeout(() => this.#end('no answer'), LOST_MS);
    while (!isComplete(this.#text) && !this.hasEnded) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    clearTimeout(giveUp);
    if (!isComplete(this.#text)) return this.#reason;
    if (!this.#text.startsWith('HTTP/1.1 200')) return this.#text.slice(9, 12);
    if (/^connection: close/im.test(this.#text)) this.hasEnded = true;
    return undefined;
  }

  close(): void {
    this.hasEnded = true;
    this.#socket.destroy();
  }

  #end(reason: string): void {
    if (!this.hasEnded) this.#reason = reason;
    this.hasEnded = true;
    this.#wake();
  }
}

function isComplete(text: string): boolean {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return false;
  const length = /^content-length: (\d+)/im.exec(text)?.[1];
  return length === undefined ? text.endsWith('0\r\n\r\n') : text.length >= end + 4 + Number(length);
}

/** A message is a request here, and the next message its answer. */
class WebSocketConnection implements Connection {
  readonly ready: Promise<unknown>;
  readonly #socket: WebSocket;
  #reason: string | undefined;
  #settle: (reason: string | undefined) => void = () => {};

  constructor(port: number, protocol: 'ws' | 'wss') {
    this.#socket = new WebSocket(`${protocol}://${host}:${port}/`, { rejectUnauthorized: false, perMessageDeflate: false });
    const end = (reason: string) => {
      this.#reason ??= reason;
      this.#settle(this.#reason);
    };
    this.#socket.on('error', (error: NodeJS.ErrnoException) => end(error.code ?? error.message)).on('close', (code) => end(`closed with ${code}`));
    this.#socket.on('message', (_: RawData) => this.#settle(undefined));
    this.ready = new Promise<void>((resolve) => this.#socket.once('open', resolve).once('close', () => resolve()));
  }

  get hasEnded(): boolean {
    return this.#reason !== undefined || this.#socket.readyState > WebSocket.OPEN;
  }

  async post(path: string): Promise<string | undefined> {
    await this.ready;
    if (this.hasEnded) return this.#reason ?? 'closing';
    return within((settle) => {
      this.#settle = settle;
      this.#socket.send(path);
    });
  }

  close(): void {
    this.#reason ??= 'closed here';
    this.#socket.terminate();
  }
}

/** One stream at a time. */
class Http2Connection implements Connection {
  hasEnded = false;
  readonly ready: Promise<unknown>;
  readonly #session: http2.ClientHttp2Session;
  #reason = 'closed';

  constructor(port: number, protocol: 'h2c' | 'h2') {
    this.#session = http2.connect(`${protocol === 'h2' ? 'https' : 'http'}://${host}:${port}`, { rejectUnauthorized: false });
    const end = (reason: string) => {
      if (!this.hasEnded) this.#reason = reason;
      this.hasEnded = true;
    };
    this.#session.on('error', (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
    this.#session.on('goaway', (code) => end(`GOAWAY ${code}`)).on('close', () => end('closed'));
    this.ready = new Promise<void>((resolve) => this.#session.once('connect', () => resolve()).once('close', () => resolve()));
  }

  async post(path: string): Promise<string | undefined> {
    await this.ready;
    if (this.hasEnded) return this.#reason;
    return within((settle) => {
      const stream = this.#session.request({ ':method': 'POST', ':path': path });
      let status: number | undefined;
      stream.on('response', (headers) => {
        status = headers[':status'];
      });
      stream.on('error', (error: NodeJS.ErrnoException) => settle(error.message));
      stream.once('close', () => settle(stream.rstCode !== 0 ? `RST_STREAM ${stream.rstCode}` : status === 200 ? undefined : String(status)));
      stream.resume().end(BODY);
    });
  }

  close(): void {
    this.hasEnded = true;
    this.#session.destroy();
  }
}

function within(ask: (settle: (reason: string | undefined) => void) => void): Promise<string | undefined> {
  return new Promise((resolve) => {
    const giveUp = setTimeout(() => resolve('no answer'), LOST_MS);
    ask((reason) => {
      clearTimeout(giveUp);
      resolve(reason);
    });
  });
}
