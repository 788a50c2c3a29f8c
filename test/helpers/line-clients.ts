/** Clients of `counts-lines.mjs` that never stop talking, in lines that they send in pieces, and check every answer. */
import type { Socket } from 'node:net';
import { poll } from './rig.ts';
import { open, type Target } from './wire.ts';

export interface LineClients {
  /** Resolves when so many more lines were answered, and at least one more of each client. */
  answered(more: number): Promise<void>;
  /** Waits for all answers. @returns for each client what went wrong first, and the generations that it met, in order */
  stop(): Promise<{ readonly mistake: string | undefined; readonly generations: readonly number[] }[]>;
}

const PIECE_PAUSE_MS = 10;
const LINE_PAUSE_MS = 20;

/** Starts so many clients, each on the one connection that it ever opens. */
export function startLineClients({ count, ...target }: Target & { readonly count: number }): LineClients {
  const clients = Array.from({ length: count }, (_, index) => new LineClient(target, `client ${index}`));
  const runs = clients.map((client) => client.run());
  const answered = () => clients.reduce((sum, client) => sum + client.answered, 0);
  const hasMistake = () => clients.some(({ mistake }) => mistake !== undefined);
  return {
    async answered(more) {
      const goal = answered() + more;
      const before = clients.map((client) => client.answered);
      await poll(
        () => hasMistake() || (answered() >= goal && clients.every((client, index) => client.answered > (before[index] ?? 0))),
        () => `answered: ${clients.map((client) => client.answered)}`,
      );
    },
    async stop() {
      for (const client of clients) client.isStopping = true;
      await Promise.all(runs);
      return clients.map(({ mistake, generations }) => ({ mistake, generations: [...generations] }));
    },
  };
}

class LineClient {
  readonly generations = new Set<number>();
  mistake: string | undefined;
  answered = 0;
  isStopping = false;
  readonly #name: string;
  readonly #socket: Socket;
  readonly #unanswered: string[] = [];
  #rest = '';

  constructor(target: Target, name: string) {
    this.#name = name;
    this.#socket = open(target);
    this.#socket.setEncoding('latin1').on('data', (text: string) => {
      const lines = (this.#rest + text).split('\n');
      this.#rest = lines.pop() ?? '';
      for (const line of lines) this.#check(line);
    });
    const end = (how: string) => {
      if (!this.isStopping || this.#unanswered.length > 0) this.mistake ??= `${name}: ${how}`;
    };
    this.#socket.on('error', ({ message }) => end(message)).on('end', () => end('FIN'));
  }

  async run(): Promise<void> {
    for (let number = 1; !this.isStopping && this.mistake === undefined; number++) {
      const line = `${this.#name} says ${number}`;
      const cut = number % line.length;
      this.#unanswered.push(line);
      this.#socket.write(line.slice(0, cut));
      await pause(PIECE_PAUSE_MS);
      this.#socket.write(`${line.slice(cut)}\n`);
      await pause(LINE_PAUSE_MS);
    }
    const isDone = () => this.#unanswered.length === 0 || this.mistake !== undefined;
    await poll(isDone, () => `${this.#name}: unanswered are ${this.#unanswered}`);
    this.#socket.destroy();
  }

  #check(line: string): void {
    if (line === 'hello from 0' && this.answered === 0) return;
    const expected = `${this.answered + 1} 0 ${this.#unanswered.shift()}`;
    const [number, generation, ...rest] = line.split(' ');
    if ([number, ...rest].join(' ') !== expected) this.mistake ??= `got "${line}" instead of "${expected}"`;
    this.generations.add(Number(generation));
    this.answered++;
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
