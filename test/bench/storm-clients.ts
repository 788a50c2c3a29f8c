/**
 * The clients of the reload storm, in a process of their own: some keep their connections, some open one for each request;
 * all of them POST. Raw sockets and no retries: a request that was sent and not answered is a failed one. A kept connection
 * that is closed while nothing is asked on it costs a new one, and is counted.
 */
import { connect, type Socket } from 'node:net';
import { monotonicMs } from './measure.ts';

export interface StormOrder {
  readonly port: number;
  readonly kept: number;
  readonly fresh: number;
}

export interface StormAccount {
  readonly answered: number;
  readonly failed: number;
  /** What failed, how often. */
  readonly reasons: Readonly<Record<string, number>>;
  /** Connections that those who keep theirs have opened. */
  readonly opened: number;
  /** Sent and answered, by `monotonicMs`. */
  readonly times: readonly (readonly [number, number])[];
}

const BODY = 'x'.repeat(256);
const THINK_MS = 40;
const LOST_MS = 10_000;

let isStopping = false;
let opened = 0;
const reasons: Record<string, number> = {};
const times: [number, number][] = [];

class Connection {
  hasEnded = false;
  readonly #socket: Socket;
  readonly #connected: Promise<void>;
  #text = '';
  #wake: () => void = () => {};
  #reason = 'FIN';

  constructor(port: number) {
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true });
    this.#connected = new Promise((resolve) => this.#socket.once('connect', resolve).once('close', () => resolve()));
    this.#socket.setEncoding('latin1').on('data', (part: string) => {
      this.#text += part;
      this.#wake();
    });
    this.#socket.on('error', (error: NodeJS.ErrnoException) => this.#end(error.code ?? error.message));
    this.#socket.on('end', () => this.#end('FIN'));
  }

  /** undefined: answered; otherwise why not. */
  async post(keepsAlive: boolean): Promise<string | undefined> {
    await this.#connected;
    if (this.hasEnded) return this.#reason;
    this.#text = '';
    this.#socket.write(`POST / HTTP/1.1\r\nHost: x\r\n${keepsAlive ? '' : 'Connection: close\r\n'}Content-Length: ${BODY.length}\r\n\r\n${BODY}`);
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

async function runClient(port: number, keepsAlive: boolean): Promise<void> {
  let connection: Connection | undefined;
  while (!isStopping) {
    const sentAt = monotonicMs();
    if (connection === undefined || connection.hasEnded) {
      connection?.close();
      connection = new Connection(port);
      if (keepsAlive) opened++;
    }
    const reason = await connection.post(keepsAlive);
    if (reason === undefined) times.push([sentAt, monotonicMs()]);
    else reasons[reason] = (reasons[reason] ?? 0) + 1;
    if (!keepsAlive || reason !== undefined) connection.close();
    await new Promise((resolve) => setTimeout(resolve, Math.random() * THINK_MS));
  }
  connection?.close();
}

let clients: Promise<void>[] = [];
process.on('message', async (order: StormOrder | 'stop') => {
  if (order !== 'stop') {
    clients = [true, false].flatMap((keepsAlive) => Array.from({ length: keepsAlive ? order.kept : order.fresh }, () => runClient(order.port, keepsAlive)));
    return;
  }
  isStopping = true;
  await Promise.all(clients);
  const failed = Object.values(reasons).reduce((sum, count) => sum + count, 0);
  process.send?.({ answered: times.length, failed, reasons, opened, times } satisfies StormAccount, () => process.exit());
});
process.once('disconnect', () => process.exit());
