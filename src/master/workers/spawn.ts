/**
 * A process for a worker, spawned before it is known which: it waits for its identity, and nothing of the program has run until it has that, but for what
 * NODE_OPTIONS load. So the first one boots while its master still gets ready; and of a master that ends before, or is killed, no process is left.
 */
import type { ChildProcess } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex, Writable } from 'node:stream';
import { isatty } from 'node:tty';
import { type ErrorReport, toReport } from '../../errors.ts';
import type { Kernel } from '../../kernel.ts';
import { WORKER_PROTOCOL, WORKER_VARIABLE, type WorkerIdentity } from '../../protocol/worker.ts';
import type { Tickets } from '../../tickets.ts';
import type { Launch } from './release.ts';
import type { RuntimeFile } from './runtime-file.ts';

/** After the standard streams and the channel. */
const TICKETS_FD = 4;
const IDENTITY_FD = 5;
/** Where a thread of the worker is asked where it hangs. */
const WATCHER_FD = 6;

/** Terminals that the master was started at. */
const terminals = [1, 2].filter((fd) => isatty(fd));

/** What spawning takes. */
export interface SpawnHost {
  readonly kernel: Kernel;
  /** Ours. */
  readonly folder: string;
  /** What workers load. */
  readonly runtime: RuntimeFile;
}

/** A process that waits, or what kept it from being. */
export interface Spawned {
  readonly launch: Launch;
  /** That it was asked of. */
  readonly kernel: Kernel;
  /** undefined: why is told by `ticketsError`, and it can't be given connections. */
  readonly tickets: Tickets | undefined;
  readonly ticketsError: unknown;
  readonly child: ChildProcess | undefined;
  /** The descriptor of its watcher, if it has one. */
  readonly watcher: Duplex | undefined;
  /** Settles when it has ended, or when it is known that it never began. */
  readonly ended: Promise<Ending>;
  /** Settles when its channel is read to the end, too. */
  readonly closed: Promise<unknown>;
  /** Lets it be a worker. */
  name(identity: Omit<WorkerIdentity, 'protocol' | 'tickets' | 'watcher'>): void;
  /** Ends it if it was never named. */
  discard(): Promise<void>;
}

/** How a process ended. */
export type Ending = { readonly code: number | null; readonly signal: NodeJS.Signals | null } | { readonly error: ErrorReport };

let spawnedSoFar = 0;

/** Spawns in a process group of its own, so that ^C at a terminal reaches the master alone. Never throws: what fails is told by `ended`. */
export function spawnWorker(launch: Launch, host: SpawnHost): Spawned {
  const { kernel, folder } = host;
  const { tickets, ticketsError } = tryTickets(kernel, [...(process.platform === 'linux' ? ['/dev/shm'] : []), folder, tmpdir()]);
  const begun = tryFork(host, launch, tickets);
  const { child, gate, ended } = begun;
  let isNamed = false;
  return {
    launch,
    kernel,
    tickets,
    ticketsError,
    ...begun,
    name(identity) {
      isNamed = true;
      const ours = { protocol: WORKER_PROTOCOL, tickets: TICKETS_FD, watcher: launch.isWatched ? WATCHER_FD : null };
      gate?.end(`${JSON.stringify({ ...identity, ...ours } satisfies WorkerIdentity)}\n`, () => gate.destroy());
    },
    async discard() {
      if (isNamed) return;
      if (child) killGroup(kernel, child);
      await ended;
      tickets?.close();
    },
  };
}

/** SIGKILL takes the children of a worker along: nobody else would. */
export function killGroup(kernel: Kernel, child: ChildProcess): void {
  try {
    if (child.pid !== undefined) kernel.killGroup(child.pid);
  } catch {
    // ESRCH: it died before it could become the leader of its group
  }
  child.kill('SIGKILL');
}

/** `gate`: what the process waits at. */
type Begun = Pick<Spawned, 'child' | 'watcher' | 'ended' | 'closed'> & { readonly gate: Writable | undefined };

function tryFork({ kernel, runtime }: SpawnHost, launch: Launch, tickets: Tickets | undefined): Begun {
  try {
    const child = forkChild(kernel, launch, { tickets, runtime: runtime.path() });
    const ended = new Promise<Ending>((resolve) => {
      child.on('error', (cause) => child.pid === undefined && resolve({ error: toReport(cause) }));
      child.once('exit', (code, signal) => resolve({ code, signal }));
    });
    const closed = new Promise((resolve) => child.once('close', resolve));
    const streams = child.stdio as readonly unknown[] | undefined; // none if it never began
    const gate = streams?.[IDENTITY_FD] as Writable | undefined;
    gate?.on('error', () => {}); // EPIPE: it has ended
    return { child, gate, watcher: streams?.[WATCHER_FD] as Duplex | undefined, ended, closed };
  } catch (error) {
    const ended = Promise.resolve({ error: toReport(error) });
    return { child: undefined, gate: undefined, watcher: undefined, ended, closed: ended };
  }
}

function forkChild(kernel: Kernel, launch: Launch, given: { readonly tickets: Tickets | undefined; readonly runtime: string }): ChildProcess {
  const { script, args, node, nodeArgs, cwd, env, isWatched } = launch;
  return kernel.fork(script, args, {
    execPath: node,
    execArgv: ['--require', given.runtime, ...nodeArgs], // nothing of the program's comes before it, but for what NODE_OPTIONS name
    cwd,
    env: { ...env, [WORKER_VARIABLE]: String(IDENTITY_FD) },
    detached: true,
    stdio: ['ignore', ...outputs(), 'ipc', given.tickets?.fd ?? 'ignore', 'pipe', ...(isWatched ? (['pipe'] as const) : [])],
  });
}

/** Its terminal is gone, and a program that writes to it would die of EIO: what it writes is lost instead. */
export function hasLostTerminal(): boolean {
  return terminals.some((fd) => !isatty(fd));
}

function outputs(): ('inherit' | 'ignore')[] {
  return [1, 2].map((fd) => (terminals.includes(fd) && !isatty(fd) ? 'ignore' : 'inherit'));
}

/** They have a path for a moment only, so any folder will do; in memory first, which no full disk concerns. A worker starts without them, if need be. */
function tryTickets(kernel: Kernel, folders: readonly string[]): Pick<Spawned, 'tickets' | 'ticketsError'> {
  const name = `.graceful-super.${process.pid.toString(36)}.${process.hrtime.bigint().toString(36)}.${++spawnedSoFar}`;
  let ticketsError: unknown;
  for (const folder of folders) {
    try {
      return { tickets: kernel.openTickets(join(folder, name)), ticketsError: undefined };
    } catch (error) {
      ticketsError = error;
    }
  }
  return { tickets: undefined, ticketsError };
}
