/**
 * HTTP/1.1 clients that keep account of every byte: on raw sockets, since a library would hide a lost request behind a
 * retry. A client only forgives what RFC 9112 allows: a connection that is closed while no request is waiting on it, or
 * after a response that announced it.
 */
import type { Socket } from 'node:net';
import { open, type Target } from './wire.ts';

/** What the storm saw. */
export interface StormResult {
  /** Requests answered completely and rightly. */
  answered: number;
  /** What went wrong, one line each. */
  readonly failures: string[];
  /** Connections that the clients had to open. */
  opened: number;
  /** Connections that ended in a reset. */
  resets: number;
  /** Answers by process. */
  readonly byPid: Map<number, number>;
}

export interface Storm {
  readonly result: StormResult;
  /** Resolves when at least so many more requests were answered. */
  answered(more: number): Promise<void>;
  /** Ends every client after what it is doing. */
  stop(): Promise<StormResult>;
}

export interface StormOptions {
  readonly port: number;
  readonly ca?: Target['ca'];
  /** Clients that keep their connections. */
  readonly keepAlive: number;
  /** Clients that open a new one for each request. */
  readonly fresh: number;
  /** Longest pause of a client between two exchanges. */
  readonly thinkMs?: number;
  /** Some clients leave a large response in the buffers for a while. */
  readonly slowReads?: boolean;
}

interface Exchange {
  readonly kind: string;
  /** The client reads nothing of the response for so long. */
  readonly sleepsMs?: number;
  /** Parts that are sent with a pause between them. */
  readonly parts: readonly string[];
  /** Ids and bodies that must come back, in this order. */
  readonly expected: readonly { readonly id: string; readonly body: string }[];
}

/** Starts the clients. */
export function startStorm({ port, ca, keepAlive, fresh, thinkMs = 45, slowReads = false }: StormOptions): Storm {
  const result: StormResult = { answered: 0, failures: [], opened: 0, resets: 0, byPid: new Map() };
  let isStopping = false;
  let onAnswer = () => {};
  const count = { isStopping: () => isStopping, onAnswer: () => onAnswer(), thinkMs, slowReads };
  const clients = [
    ...Array.from({ length: keepAlive }, (_, index) => runClient({ port, ca }, index, true, result, count)),
    ...Array.from({ length: fresh }, (_, index) => runClient({ port, ca }, keepAlive + index, false, result, count)),
  ];
  return {
    result,
    answered: (more) =>
      new Promise((resolve) => {
        const goal = result.answered + more;
        onAnswer = () => {
          if (result.answered >= goal || result.failures.length > 100) resolve();
        };
        onAnswer();
      }),
    async stop() {
      isStopping = true;
      await Promise.all(clients);
      return result;
    },
  };
}

/** Crowds of clients that keep their connections, one more as long as the kernel has not given one of them to whom it should. */
export async function stormsOn(port: number, clients: number, isThere: (byPid: ReadonlyMap<number, number>) => boolean): Promise<Storm[]> {
  const storms: Storm[] = [];
  do {
    const storm = startStorm({ port, keepAlive: clients, fresh: 0 });
    storms.push(storm);
    await storm.answered(2 * clients);
  } while (!storms.some(({ result }) => isThere(result.byPid)));
  return storms;
}

async function runClient(
  target: Target,
  client: number,
  keepsAlive: boolean,
  result: StormResult,
  { isStopping, onAnswer, thinkMs, slowReads }: { isStopping(): boolean; onAnswer(): void; thinkMs: number; slowReads: boolean },
): Promise<void> {
  let connection: Connection | undefined;
  for (let turn = 0; !isStopping() && result.failures.length <= 100; turn++) {
    connection ??= new Connection(target, result);
    const exchange = slowReads && (client + turn) % 11 === 0 ? readSlowly(client, turn) : makeExchange(client, turn, keepsAlive);
    const failure = await connection.exchange(exchange).catch((error) => String(error));
    if (failure === null) {
      result.answered += exchange.expected.length;
      onAnswer();
    } else if (failure === 'unused') {
      connection = undefined; // it was closed before the request was sent: a client takes another one
      continue;
    } else {
      result.failures.push(`client ${client}, turn ${turn}, ${exchange.kind}: ${failure}`);
      connection.close();
      connection = undefined;
      onAnswer();
      continue;
    }
    if (!keepsAlive || connection.isClosing) {
      connection.close();
      connection = undefined;
    }
    await pause(5 + ((client * 7 + turn * 13) % (thinkMs - 5)));
  }
  connection?.close();
}

function makeExchange(client: number, turn: number, keepsAlive: boolean): Exchange {
  const id = `${client}-${turn}`;
  const connection = keepsAlive ? '' : 'Connection: close\r\n';
  const get = (tag: string, query = '') => `GET /?id=${tag}${query} HTTP/1.1\r\nHost: x\r\n${connection}\r\n`;
  const body = `body of ${id} `.repeat(20);
  const head = `POST /?id=${id} HTTP/1.1\r\nHost: x\r\n${connection}Content-Length: ${body.length}\r\n\r\n`;
  const one = (sent: string) => [{ id, body: sent }];
  switch ((client + turn) % 9) {
    case 0:
      return { kind: 'GET', parts: [get(id)], expected: one('') };
    case 1:
      return { kind: 'POST', parts: [head + body], expected: one(body) };
    case 2:
      return { kind: 'half-sent headers', parts: [get(id).slice(0, 12), get(id).slice(12)], expected: one('') };
    case 3:
      return { kind: 'half-sent body', parts: [head + body.slice(0, 30), body.slice(30)], expected: one(body) };
    case 4:
      return { kind: 'slow response', parts: [get(id, '&wait=150')], expected: one('') };
    case 5:
      return { kind: 'response in parts', parts: [get(id, '&stream=60')], expected: one('') };
    case 6: {
      const chunks = `6\r\nchunk \r\n4\r\nedBB\r\n`;
      const start = `POST /?id=${id} HTTP/1.1\r\nHost: x\r\n${connection}Transfer-Encoding: chunked\r\n\r\n`;
      return { kind: 'chunked', parts: [start + chunks, '2\r\n!!\r\n0\r\n\r\n'], expected: one('chunk edBB!!') };
    }
    case 7:
      return { kind: 'large response', parts: [get(id, '&size=200000')], expected: one('') };
    default: {
      if (!keepsAlive) return { kind: 'GET', parts: [get(id)], expected: one('') };
      const ids = [`${id}a`, `${id}b`, `${id}c`];
      return {
        kind: 'pipelined',
        parts: [get(ids[0] as string) + get(ids[1] as string, '&wait=20') + get(ids[2] as string)],
        expected: ids.map((tag) => ({ id: tag, body: '' })),
      };
    }
  }
}

/** For some it is more than the kernel takes from a server whose client does not read, so the rest waits in the server. */
function readSlowly(client: number, turn: number): Exchange {
  const id = `${client}-${turn}`;
  const size = client % 20 === 0 ? 8_000_000 : 300_000;
  return { kind: 'slow reader', parts: [`GET /?id=${id}&size=${size} HTTP/1.1\r\nHost: x\r\n\r\n`], expected: [{ id, body: '' }], sleepsMs: 150 };
}

class Connection {
  isClosing = false;
  readonly #socket: Socket;
  readonly #result: StormResult;
  #buffer = '';
  /** Length of the buffer below which it need not be looked at. */
  #needed = 0;
  #ended: string | undefined;
  #wake: () => void = () => {};

  constructor(target: Target, result: StormResult) {
    this.#result = result;
    result.opened++;
    this.#socket = open(target);
    this.#socket.setEncoding('latin1').on('data', (text: string) => {
      this.#buffer += text;
      if (this.#buffer.length >= this.#needed) this.#wake();
    });
    this.#socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNRESET') result.resets++;
      this.#end(error.code ?? error.message);
    });
    this.#socket.on('end', () => this.#end('FIN'));
  }

  /** null: answered; 'unused': closed before anything was sent; otherwise what went wrong. */
  async exchange({ parts, expected, sleepsMs }: Exchange): Promise<string | null> {
    if (this.#ended === 'FIN') return 'unused';
    if (sleepsMs !== undefined) this.#socket.pause();
    for (const [index, part] of parts.entries()) {
      if (index > 0) await pause(15);
      this.#socket.write(part);
    }
    if (sleepsMs !== undefined) await pause(sleepsMs);
    this.#socket.resume();
    for (const { id, body } of expected) {
      const response = await this.#response();
      if (typeof response === 'string') return response;
      this.#result.byPid.set(response.pid, (this.#result.byPid.get(response.pid) ?? 0) + 1);
      if (response.id !== id || response.body !== body) return `got the answer of ${response.id} with body "${response.body}" instead of ${id}`;
    }
    return null;
  }

  close(): void {
    this.#socket.destroy();
  }

  async #response(): Promise<{ pid: number; id: string; body: string } | string> {
    for (;;) {
      const parsed = this.#parse();
      if (parsed !== undefined) return parsed;
      if (this.#ended !== undefined) return `${this.#ended} after ${this.#buffer.length} bytes of a response`;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #parse(): { pid: number; id: string; body: string } | string | undefined {
    const end = this.#buffer.indexOf('\r\n\r\n');
    if (end < 0) return undefined;
    const head = this.#buffer.slice(0, end);
    if (!head.startsWith('HTTP/1.1 200')) return `answer ${head.split('\r\n')[0]}`;
    const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? -1);
    this.#needed = end + 4 + Math.max(0, length);
    if (this.#buffer.length < this.#needed) return undefined;
    const rest = this.#buffer.slice(end + 4);
    const [text, used] = length >= 0 ? [rest.slice(0, length), length] : unchunk(rest);
    if (text === undefined || rest.length < used || used < 0) return undefined;
    this.#buffer = rest.slice(used);
    this.#needed = 0;
    if (/^connection: close/im.test(head)) this.isClosing = true;
    return JSON.parse(text) as { pid: number; id: string; body: string };
  }

  #end(reason: string): void {
    this.#ended ??= reason;
    this.isClosing = true;
    this.#wake();
  }
}

/** The decoded body and how much of the text it took; undefined while it is not complete. */
function unchunk(text: string): [string | undefined, number] {
  let body = '';
  let at = 0;
  for (;;) {
    const line = text.indexOf('\r\n', at);
    if (line < 0) return [undefined, -1];
    const size = Number.parseInt(text.slice(at, line), 16);
    if (text.length < line + 2 + size + 2) return [undefined, -1];
    body += text.slice(line + 2, line + 2 + size);
    at = line + 2 + size + 2;
    if (size === 0) return [body, at];
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
