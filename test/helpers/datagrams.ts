/** Senders of datagrams, who keep account of what was answered, how often and from where. */
import assert from 'node:assert/strict';
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';

const FIRST_PORT = 20_000; // below those that clients get, which somebody may have at any moment
const PORTS = 10_000;
/** On a machine that is busy a datagram is late, but on loopback it is lost only if somebody loses it. */
const PATIENCE_MS = 20_000;

/** A port that nobody has, for programs that bind a fixed one. */
export async function freePort(address = '127.0.0.1'): Promise<number> {
  for (;;) {
    const port = FIRST_PORT + Math.floor(Math.random() * PORTS);
    const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
    const isFree = await new Promise<boolean>((resolve) => {
      socket.once('error', () => resolve(false)).bind(port, address, () => resolve(true));
    });
    socket.close();
    if (isFree) return port;
  }
}

/** What came back for one datagram. */
export interface Answer {
  readonly text: string;
  readonly from: RemoteInfo;
}

/** Sends one, and waits for its answer. */
export async function askDatagram(port: number, text = 'hello', address = '127.0.0.1'): Promise<Answer> {
  await using sender = await openSender(address);
  return await sender.ask(port, text);
}

/** A socket that sends and listens for answers. */
export interface Sender extends AsyncDisposable {
  readonly socket: Socket;
  send(port: number, text: string): void;
  /** The next datagram that comes. */
  next(): Promise<Answer>;
  ask(port: number, text: string): Promise<Answer>;
}

export async function openSender(address = '127.0.0.1'): Promise<Sender> {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  socket.bind(0, address);
  await once(socket, 'listening');
  const queue: Answer[] = [];
  socket.on('message', (message, from) => queue.push({ text: message.toString(), from }));
  const next = async () => {
    const signal = AbortSignal.timeout(PATIENCE_MS);
    while (queue.length === 0) await once(socket, 'message', { signal });
    return queue.shift() as Answer;
  };
  const send = (port: number, text: string) => socket.send(text, port, address);
  return {
    socket,
    send,
    next,
    ask(port, text) {
      const answer = next();
      send(port, text);
      return answer;
    },
    async [Symbol.asyncDispose]() {
      socket.close();
    },
  };
}

/** What many senders have seen. */
export interface Traffic {
  readonly answered: number;
  readonly lost: readonly string[];
  /** Answered twice, or answered though nobody had asked. */
  readonly doubled: readonly string[];
  /** Not from where they were sent to. */
  readonly astray: readonly string[];
  readonly pids: ReadonlySet<number>;
}

/** Senders that go on sending numbered datagrams, some at a time, each when one was answered. */
export interface Traffickers {
  /** Settles when so many more were answered. */
  more(count: number): Promise<void>;
  /** `lost`: so many need not be waited for. */
  stop(lost?: number): Promise<Traffic>;
}

const WINDOW = 4;

/** Each of `count` senders has a few datagrams under way at any moment. */
export async function startTraffic(port: number, count = 20, address = '127.0.0.1'): Promise<Traffickers> {
  const senders = await Promise.all(Array.from({ length: count }, () => openSender(address)));
  const waiting = new Set<string>();
  const doubled: string[] = [];
  const astray: string[] = [];
  const pids = new Set<number>();
  let answered = 0;
  let isStopping = false;
  let look = () => {};
  let last = 0;
  const sendNext = (sender: Sender) => {
    const number = String(++last);
    waiting.add(number);
    sender.send(port, number);
  };
  const reach = (isSo: () => boolean) =>
    new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${answered} answered, waiting for ${[...waiting].slice(0, 10)}`)), PATIENCE_MS);
      look = () => {
        if (!isSo()) return;
        clearTimeout(timer);
        resolve();
      };
      look();
    });
  for (const sender of senders) {
    sender.socket.on('message', (message, from) => {
      const [pid, number = ''] = message.toString().split(' ');
      if (!waiting.delete(number)) doubled.push(number);
      if (from.port !== port || from.address !== address) astray.push(`${number} from ${from.address}:${from.port}`);
      pids.add(Number(pid));
      answered++;
      if (!isStopping) sendNext(sender);
      look();
    });
    for (let i = 0; i < WINDOW; i++) sendNext(sender);
  }
  return {
    more(wanted) {
      const until = answered + wanted;
      return reach(() => answered >= until);
    },
    async stop(lost = 0) {
      isStopping = true;
      await reach(() => waiting.size <= lost).catch(() => {});
      for (const sender of senders) sender.socket.close();
      return { answered, lost: [...waiting], doubled, astray, pids };
    },
  };
}

/** Nothing was lost, doubled, or answered from elsewhere. */
export function assertAllAnswered({ lost, doubled, astray }: Traffic): void {
  assert.deepEqual({ lost, doubled, astray }, { lost: [], doubled: [], astray: [] });
}
