/**
 * A world around a real master: its supervisor, loop, pool, router and listeners run as they are, on a simulated kernel with simulated workers, clients
 * and time. Each call of the kernel can be made to fail; each worker can die, stop or hang up at any word.
 */
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import type { Config } from '../../../../src/config/config.ts';
import { GracefulError } from '../../../../src/errors.ts';
import type { Cancel, Kernel } from '../../../../src/kernel.ts';
import type { Keeper } from '../../../../src/master/control/keeper.ts';
import { Listeners } from '../../../../src/master/listeners/listeners.ts';
import type { Log } from '../../../../src/master/log/log.ts';
import { holdSignals } from '../../../../src/master/signals.ts';
import { Supervisor } from '../../../../src/master/supervisor.ts';
import { resolveLaunch } from '../../../../src/master/workers/release.ts';
import { type Spawned, spawnWorker } from '../../../../src/master/workers/spawn.ts';
import { load } from '../load-config.ts';
import { Calls, type Plan } from './calls.ts';
import { Connection } from './connection.ts';
import { SimulatedKernel, type SimulatedListener } from './kernel.ts';
import type { SimulatedProcess } from './process.ts';
import { Timeline } from './timeline.ts';

/** What every generation listens on. */
export const PORT = 8080;
const origin = { env: {}, node: process.execPath };
/** Nobody loads it. */
const runtime = { path: () => '/runtime.cjs', files: [], mend() {}, close() {} };

export interface Line {
  readonly event: string;
  readonly text: string;
  readonly [field: string]: unknown;
}

export interface WorldOptions {
  readonly plan: Plan;
  /** Where the sockets and tickets lie; it is there. */
  readonly folder: string;
  /** Before the last words of a process are read, or after. */
  readonly exitIsToldAfterMs: number;
}

holdSignals(); // they are told by `process.emit`

export class World implements Disposable {
  readonly calls: Calls;
  readonly lines: Line[] = [];
  readonly processes: SimulatedProcess[] = [];
  readonly connections: Connection[] = [];
  readonly listeners: SimulatedListener[] = [];
  readonly complaints: string[] = [];
  readonly exitIsToldAfterMs: number;
  /** How it ended; undefined: it runs. */
  exitCode: number | undefined;
  openTickets = 0;
  /** Whose code does not work. */
  brokenGeneration: number | undefined;
  /** So many calls it took to start. */
  callsAtStart = 0;
  /** Clients may come at any time. */
  isServing = false;
  readonly timers: Set<object> = new Set();
  readonly #time = new Timeline();
  readonly #folder: string;
  readonly #lateTimers: (() => void)[] = [];
  readonly #lateNews: (() => void)[] = [];
  readonly #listenersBefore = process.listeners('uncaughtException');
  /** For how long it has been stopped, all in all. */
  masterStoppedMs = 0;
  #isStopped = false;
  #loads = 0;

  constructor({ plan, folder, exitIsToldAfterMs }: WorldOptions) {
    this.calls = new Calls(this, plan);
    this.#folder = folder;
    this.exitIsToldAfterMs = exitIsToldAfterMs;
  }

  /** As src/cli/start.ts and src/master/supervise.ts do. */
  async begin(): Promise<void> {
    const config = await configOf(++this.#loads);
    const kernel = new SimulatedKernel(this, this.#time);
    const spawned = spawnWorker(await resolveLaunch(config, origin), { kernel, folder: this.#folder, runtime });
    void this.#supervise(config, kernel, spawned).catch((error) => this.complain(`the master threw ${error}`));
  }

  async #supervise(config: Config, kernel: Kernel, spawned: Spawned): Promise<void> {
    const listeners = new Listeners(kernel, { keep: () => false, drop() {} }, []);
    const options = { config, runtimeDir: this.#folder, version: '0', kernel, origin, runtime, spawned, loadConfig: () => this.#load() };
    let exitCode = 1;
    try {
      exitCode = await new Supervisor(options, this.#log(), nobodysKeeper(), listeners).run();
    } catch (error) {
      if (!(error instanceof GracefulError)) throw error;
    } finally {
      listeners.close();
      await spawned.discard();
      this.exitCode = exitCode;
    }
  }

  /** Things happen until it is so, or so much time has passed. @returns whether it is so */
  async until(isSo: () => boolean, withinMs = 180_000): Promise<boolean> {
    const end = this.now() + withinMs;
    for (;;) {
      await new Promise<void>((resolve) => process.nextTick(resolve)); // all promises that can settle have settled by then
      this.#seeWhoAccepts();
      if (isSo()) return true;
      if (!this.#time.step(end)) return isSo();
    }
  }

  now(): number {
    return this.#time.now();
  }

  after(ms: number, then: () => void): Cancel {
    return this.#time.after(ms, then);
  }

  /** The master is told of something at once; it tells nobody before its turn is over. */
  soon(then: () => void): void {
    this.after(0, () => this.masterDoes(then));
  }

  /** At once, or when it is continued. */
  masterDoes(then: () => void): void {
    if (this.#isStopped) this.#lateNews.push(then);
    else then();
  }

  /** One of its timers strikes: at once, or when it is continued. */
  masterStrikes(then: () => void): void {
    if (this.#isStopped) this.#lateTimers.push(then);
    else then();
  }

  /** When it is continued, its timers come first: libuv does not look for news before those that are due. */
  stopMaster(ms: number): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.masterStoppedMs += ms;
    this.after(ms, () => {
      this.#isStopped = false;
      for (const then of [...this.#lateTimers.splice(0), ...this.#lateNews.splice(0)]) this.after(0, () => this.masterDoes(then));
    });
  }

  complain(text: string): void {
    this.complaints.push(text);
  }

  portsOf(generation: number): number[] {
    return [PORT, PORT + 1000 + generation];
  }

  /** A client connects, to whoever accepts; its first request takes so long. */
  connect(busyMs: number): void {
    const accepting = this.processes.filter(({ isAlive, program }) => isAlive && program.isAccepting);
    const process = accepting[this.connections.length % accepting.length];
    if (process === undefined) return;
    const connection = new Connection(this.connections.length + 1, (text) => this.complain(text));
    this.connections.push(connection);
    process.program.accept(connection, busyMs);
  }

  /** The master gets a signal. */
  signal(signal: 'SIGHUP' | 'SIGTERM'): void {
    this.masterDoes(() => void process.emit(signal, signal));
  }

  linesOf(event: string): Line[] {
    return this.lines.filter((line) => line.event === event);
  }

  [Symbol.dispose](): void {
    setFlagsFromString('--semi-space-growth-factor=2'); // a master keeps its heap small, this process plays thousands of them
    for (const listener of process.listeners('uncaughtException')) {
      if (!this.#listenersBefore.includes(listener)) process.off('uncaughtException', listener);
    }
  }

  /** One fault can't take two workers away. */
  #seeWhoAccepts(): void {
    if (!this.isServing || this.calls.struck > 1 || this.processes.some(({ isAlive, program }) => isAlive && program.isAccepting)) return;
    this.isServing = false; // that is said once
    this.complain(`nobody accepts at ${this.now()}`);
  }

  async #load(): Promise<Config> {
    if (this.calls.next('read the configuration', '') === 'it is none') throw new GracefulError('config-invalid', 'no configuration', { hint: '' });
    return configOf(++this.#loads);
  }

  #log(): Log {
    return {
      begin() {},
      reopen() {},
      close: () => Promise.resolve(),
      write: (event, { text, details }, fields = {}) => {
        this.lines.push({ ...fields, event, text });
        if (event === 'internal-error') this.complain(`${text}\n${details}`);
      },
    };
  }
}

/** Each names a port of its own besides. */
function configOf(count: number): Promise<Config> {
  const times = { probation: '200ms', idleGrace: '5s', drainTimeout: '20s', killTimeout: '5s', readyTimeout: '10s', heartbeatTimeout: '0s' };
  const flags = { ...times, workers: 2, allowAddressChange: true, listen: [`127.0.0.1:${PORT + 2000 + count},name=admin`] };
  return load({ script: fileURLToPath(import.meta.url), folder: '/', flags });
}

/** No control socket. */
function nobodysKeeper(): Keeper {
  const keeper: Partial<Keeper> = { claim: { server: createServer(), files: [] } as never, onRenewed() {}, begin() {}, look() {} };
  return keeper as Keeper;
}
