/** A WebSocket client, by the ws library, that sees every message, and how the connection ended. */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { type ClientOptions, WebSocket } from 'ws';
import { poll } from './rig.ts';

/** One connection. */
export class WebSocketWire implements Disposable {
  readonly socket: WebSocket;
  /** Text messages. */
  readonly texts: string[] = [];
  /** Binary messages. */
  readonly blobs: Buffer[] = [];
  /** Code of the close, or message of the error; undefined while it is open. */
  ended: number | string | undefined;

  constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on('message', (data, isBinary) => {
      if (isBinary) this.blobs.push(data as Buffer);
      else this.texts.push(String(data));
    });
    socket.on('error', ({ message }) => {
      this.ended ??= message;
    });
    socket.on('close', (code) => {
      this.ended ??= code;
    });
  }

  /** The connection below. */
  get below(): Socket {
    return (this.socket as unknown as { readonly _socket: Socket })._socket;
  }

  /** Sends a text. @returns the text that comes next */
  async ask(text: string): Promise<string> {
    const at = this.texts.length;
    this.socket.send(text);
    await this.until(() => this.texts.length > at);
    return this.texts[at] ?? '';
  }

  async until(isSo: () => boolean): Promise<void> {
    await poll(
      () => isSo() || this.ended !== undefined,
      () => `got ${JSON.stringify(this.texts.slice(-5))}`,
    );
    if (!isSo()) throw new Error(`ended with ${this.ended}, got ${JSON.stringify(this.texts.slice(-5))}`);
  }

  /** How the connection ended. */
  async end(): Promise<number | string> {
    await poll(
      () => this.ended !== undefined,
      () => `it is still open, got ${JSON.stringify(this.texts.slice(-5))}`,
    );
    return this.ended as number | string;
  }

  [Symbol.dispose](): void {
    this.socket.terminate();
  }
}

/** Opens a connection. */
export async function dialWebSocket(url: string, options: ClientOptions = {}, protocols: string[] = []): Promise<WebSocketWire> {
  const socket = new WebSocket(url.replace('http', 'ws'), protocols, { perMessageDeflate: false, ...options });
  const wire = new WebSocketWire(socket);
  await once(socket, 'open');
  return wire;
}

/** A client of `counts-messages.mjs` that never stops talking, and checks all that it gets. */
export interface Talk {
  /** Messages that were answered. */
  readonly count: number;
  /** Resolves when so many more messages were answered. */
  answered(more: number): Promise<void>;
  /** Waits for the last answer. `generations` are those that have answered, in order. */
  stop(): Promise<{ readonly mistakes: readonly string[]; readonly ended: number | string | undefined; readonly generations: readonly number[] }>;
}

const TALK_PAUSE_MS = 40;

export function startTalk(wire: WebSocketWire): Talk {
  const generations = new Set<number>();
  let [sent, answered] = [0, 0];
  wire.socket.on('message', (data) => {
    const generation = /^\d+ (\d+) /.exec(String(data))?.[1];
    if (generation === undefined) return;
    generations.add(Number(generation));
    answered++;
  });
  const timer = setInterval(() => wire.socket.send(`message ${++sent}`), TALK_PAUSE_MS);
  timer.unref(); // a test that fails meanwhile must end
  return {
    get count() {
      return answered;
    },
    async answered(more) {
      const goal = answered + more;
      await wire.until(() => answered >= goal);
    },
    async stop() {
      clearInterval(timer);
      const { ended } = wire;
      await wire.until(() => answered >= sent);
      wire[Symbol.dispose]();
      return { mistakes: findMistakes(wire.texts), ended, generations: [...generations] };
    },
  };
}

/** The greeting comes once, and first; answers and pushes count from 1 without a gap, in any order to each other. */
function findMistakes([greeting, ...texts]: readonly string[]): string[] {
  let [answered, pushed] = [0, 0];
  const isRight = (text: string) => {
    if (text.startsWith('pushed')) return text === `pushed ${++pushed}`;
    const [number, , ...message] = text.split(' ');
    return Number(number) === ++answered && message.join(' ') === `message ${answered}`;
  };
  const mistakes = texts.filter((text) => !isRight(text));
  if (pushed === 0) mistakes.push('nothing was pushed');
  return greeting === 'hello' ? mistakes : ['no greeting', ...mistakes];
}

/** A frame as a client sends it. `opcode`: 1 text, 9 ping. */
export function maskedFrame(opcode: number, text: string): Buffer {
  const mask = Buffer.from([1, 2, 3, 4]);
  const payload = Buffer.from(text).map((byte, index) => byte ^ (mask[index % 4] ?? 0));
  return Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | payload.length]), mask, payload]);
}
