/** What a competitor is told to run, and what it is once it runs. */
import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { isEncrypted, type Protocol } from './connections.ts';
import { childrenOf, type Ground } from './ground.ts';
import type { Tools } from './tools.ts';

/** What is to run. */
export interface Setting {
  readonly port: number;
  readonly workers: number;
  readonly ground: Ground;
  readonly tools: Tools;
  /** More flags for graceful-super. */
  readonly flags?: readonly string[];
  /** File that `marks.cjs` writes to; only graceful-super and bare Node. */
  readonly marks?: string;
  /** What the program speaks: HTTP/1.1 without TLS unless said otherwise. */
  readonly protocol?: Protocol;
}

/** A competitor that serves. */
export interface Running {
  /** The process that supervises, or serves itself. */
  readonly pid: number;
  readonly port: number;
  /** Processes that serve, or threads. */
  workers(): number[];
  /** Settles when it has been told; what comes of it is for others to see. */
  reload(): Promise<void>;
  /** Ends it and all that it started. */
  stop(): Promise<void>;
}

export function program(name: string): string {
  return fileURLToPath(new URL(`programs/${name}`, import.meta.url));
}

/** What the program reads of its environment. */
export function speech({ port, protocol = 'http', ground }: Setting): Record<string, string> {
  return { PORT: String(port), PROTOCOL: protocol, ...(isEncrypted(protocol) && ground.certificate()) };
}

interface Manners {
  readonly workers?: () => number[];
  readonly reload?: NodeJS.Signals;
  readonly stop?: NodeJS.Signals;
}

/** A process in the foreground whose children serve. */
export function ordinary(child: ChildProcess, port: number, ground: Ground, { workers, reload = 'SIGHUP', stop = 'SIGTERM' }: Manners = {}): Running {
  const pid = child.pid as number;
  return {
    pid,
    port,
    workers: workers ?? (() => childrenOf(pid)),
    async reload() {
      child.kill(reload);
    },
    stop: () => ground.end(child, stop),
  };
}
