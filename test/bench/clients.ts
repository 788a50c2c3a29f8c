/**
 * The clients of a benchmark, in a process of their own: connections that ask again and again, and idle ones of which one
 * at a time, chosen by chance, is asked something. Raw sockets, so that nothing is retried or pooled behind our back.
 */
import { connect, type Socket } from 'node:net';
import { monotonicMs, type Request, type Sample } from './measure.ts';

const HOST = '127.0.0.1';
const REQUEST = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n';
const BATCH = 100;
/** From one question on an idle connection to the next; milliseconds. */
const PROBE_MS = 4;
/** A request that is not answered after so long counts as lost; milliseconds. */
const LOST_MS = 5_000;

let samples: Sample[] = [];
const errors: string[] = [];
let isStopping = false;
const idle: Client[] = [];
const busy: Client[] = [];

/** One connection. */
class Client {
  readonly ready: Promise<void>;
  /** When it asked what is not answered yet. */
  askedAt: number | undefined;
  readonly #socket: Socket;
  #onAnswer: () => void = () => {};

  constructor(port: number) {
    this.#socket = connect({ port, host: HOST, noDelay: true });
    this.ready = new Promise((resolve) => this.#socket.once('connect', resolve));
    let text = '';
    this.#socket.setEncoding('latin1').on('data', (part: string) => {
      text += part;
      const [head = '', body] = text.split('\r\n\r\n');
      if (body === undefined || body.length < Number(/content-length: (\d+)/i.exec(head)?.[1])) return;
      text = '';
      this.#onAnswer();
    });
    this.#socket.on('error', (error) => errors.push(error.message));
    this.#socket.on('end', () => isStopping || errors.push('a connection was closed'));
  }

  /** @returns when it was sent and answered */
  async ask(): Promise<Sample['times']> {
    const sentAt = monotonicMs();
    this.askedAt = sentAt;
    await new Promise<void>((resolve) => {
      this.#onAnswer = resolve;
      this.#socket.write(REQUEST);
    });
    this.askedAt = undefined;
    return [sentAt, monotonicMs()];
  }
}

/** Opens connections, each of which has had a request. */
async function open(port: number, count: number): Promise<Client[]> {
  const clients: Client[] = [];
  while (clients.length < count) {
    const batch = Array.from({ length: Math.min(BATCH, count - clients.length) }, () => new Client(port));
    await Promise.all(batch.map((client) => client.ready.then(() => client.ask())));
    clients.push(...batch);
  }
  return clients;
}

/** Thinks for 0 to twice `thinkMs` between two requests. */
async function keepAsking(client: Client, thinkMs: number): Promise<void> {
  while (!isStopping) {
    samples.push({ kind: 'busy', times: await client.ask() });
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 2 * thinkMs));
  }
}

function probe(): void {
  const client = idle[Math.floor(Math.random() * idle.length)];
  if (client === undefined || client.askedAt !== undefined) return;
  void client.ask().then((times) => samples.push({ kind: 'idle', times }));
}

/** Requests that are waiting now and go on to do so. */
async function countLost(): Promise<number> {
  const waiting = [...idle, ...busy].flatMap((client) => (client.askedAt === undefined ? [] : [{ client, askedAt: client.askedAt }]));
  const giveUpAt = monotonicMs() + LOST_MS;
  const lost = () => waiting.filter(({ client, askedAt }) => client.askedAt === askedAt).length;
  while (lost() > 0 && monotonicMs() < giveUpAt) await new Promise((resolve) => setTimeout(resolve, 10));
  return lost();
}

async function obey(request: Request): Promise<unknown> {
  switch (request.type) {
    case 'open': {
      idle.push(...(await open(request.port, request.idle)));
      busy.push(...(await open(request.port, request.busy)));
      for (const client of busy) void keepAsking(client, request.thinkMs);
      setInterval(probe, PROBE_MS);
      return null;
    }
    case 'take': {
      const lost = await countLost();
      const taken = { samples, errors: [...errors.splice(0), ...Array.from({ length: lost }, () => 'a request was not answered')] };
      samples = [];
      return taken;
    }
    case 'stop':
      isStopping = true;
      return process.exit();
  }
}

process.on('message', (request: Request) => void obey(request).then((answer) => process.send?.(answer)));
