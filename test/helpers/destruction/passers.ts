/** Clients that come once: each opens a connection, asks one question and leaves with the answer. None of them is ever refused. */
import { connect } from 'node:net';
import type { Rig } from '../rig.ts';
import type { Ledger } from './ledger.ts';

const PATIENCE_MS = 30_000;

interface Failure {
  readonly why: string;
  /** What the fixture calls the connection. */
  readonly key: string;
  readonly failedAt: number;
  /** Length of what the workers had told when it was opened. */
  readonly told: number;
}

export class Passers {
  answered = 0;
  #failures: Failure[] = [];
  #isPassing = false;
  #walks: Promise<void>[] = [];
  readonly #rig: Rig;
  #count = 0;

  constructor(rig: Rig) {
    this.#rig = rig;
  }

  start(count: number): void {
    this.#isPassing = true;
    this.#walks = Array.from({ length: count }, async (_, index) => {
      for (let turn = index; this.#isPassing; turn++) {
        await this.#pass();
        await new Promise((resolve) => setTimeout(resolve, (turn * 7) % 30));
      }
    });
  }

  async rest(): Promise<void> {
    this.#isPassing = false;
    await Promise.all(this.#walks);
  }

  /** @returns what nobody condemned answers for, and how many were lost with those who are */
  async judge(ledger: Ledger): Promise<{ readonly complaints: string[]; readonly lost: number }> {
    const failures = this.#failures.splice(0);
    const complaints: string[] = [];
    for (const failure of failures) if (!(await this.#isForgiven(failure, ledger))) complaints.push(`passer ${failure.key}: ${failure.why}`);
    return { complaints, lost: failures.length - complaints.length };
  }

  async #isForgiven({ why, key, failedAt, told }: Failure, ledger: Ledger): Promise<boolean> {
    if (/REFUSED|patience|instead/.test(why)) return false;
    const owner = () => Number([...this.#rig.stdout.slice(told).matchAll(new RegExp(`^(?:accepted|adopted) (\\d+) ${key}$`, 'gm'))].at(-1)?.[1] ?? 0);
    if (owner() === 0) return ledger.hasStruckBy(failedAt); // it was killed before it could tell
    return this.#rig
      .waitFor(() => ledger.pids.has(owner()) || undefined, `the owner of ${key} (${why}), ${owner()}, to be condemned`)
      .then(
        () => true,
        () => false,
      );
  }

  #pass(): Promise<void> {
    const id = `passer-${++this.#count}`;
    const told = this.#rig.stdout.length;
    return new Promise((resolve) => {
      const socket = connect({ port: this.#rig.port(0), host: '127.0.0.1', noDelay: true });
      let text = '';
      let key = '?';
      const end = (why?: string) => {
        clearTimeout(timer);
        socket.destroy();
        if (why === undefined) this.answered++;
        else this.#failures.push({ why, key, failedAt: performance.now(), told });
        resolve();
      };
      const timer = setTimeout(() => end('lost patience'), PATIENCE_MS);
      socket.setEncoding('latin1').on('data', (part: string) => {
        text += part;
      });
      socket.once('connect', () => {
        key = `${socket.remotePort}:${socket.localPort}`;
        socket.write(`GET /${id} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
      });
      socket.once('error', (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
      socket.once('end', () => {
        if (text === '') return end('FIN');
        const isRight = text.startsWith('HTTP/1.1 200') && text.includes(`"id":"${id}"}`);
        end(isRight ? undefined : `was answered ${JSON.stringify(text)} instead of ${id}`);
      });
    });
  }
}
