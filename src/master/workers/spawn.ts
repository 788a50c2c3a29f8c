/**
 * A process for a worker, spawned before it is known which: it waits for its identity, and nothing of the program has run until it has that, but for what
 * NODE_OPTIONS load. So the first one boots while its master still gets ready; and of a master that ends before, or is killed, no process is left.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex, Writable } from 'node:stream';
import { type ErrorReport, toReport } from '../../errors.ts';
import { WORKER_VARIABLE, type WorkerIdentity } from '../../protocol/worker.ts';
import { makeTickets, type Tickets } from '../../tickets.ts';
import type { Launch } from './release.ts';
import type { RuntimeFile } from './runtime-file.ts';

/** After the standard streams and the channel. */
const TICKETS_FD = 4;
const IDENTITY_FD = 5;
/** Where a thread of the worker is asked where it hangs. */
const WATCHER_FD = 6;
/** A spawn takes six descriptors at once, and its child some until it has begun. */
const SPARE_DESCRIPTORS = 18;

/** A process that waits, or what kept it from being. */
export interface Spawned {
  readonly launch: Launch;
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
  name(identity: Omit<WorkerIdentity, 'tickets' | 'watcher'>): void;
  /** Ends it if it was never named. */
  discard(): Promise<void>;
}

/** How a process ended. */
export type Ending = { readonly code: number | null; readonly signal: NodeJS.Signals | null } | { readonly error: ErrorReport };

let spawnedSoFar = 0;

/** Spawns in a process group of its own, so that ^C at a terminal reaches the master alone. Never throws: what fails is told by `ended`. `folder` is ours. */
export function spawnWorker(launch: Launch, folder: string, runtime: RuntimeFile): Spawned {
  const { tickets, ticketsError } = tryTickets([...(process.platform === 'linux' ? ['/dev/shm'] : []), folder, tmpdir()]);
  const common = { launch, tickets, ticketsError };
  try {
    const child = forkChild(launch, tickets, runtime.path());
    const ended = new Promise<Ending>((resolve) => {
      child.on('error', (cause) => child.pid === undefined && resolve({ error: toReport(cause) }));
      child.once('exit', (code, signal) => resolve({ code, signal }));
    });
    const closed = new Promise((resolve) => child.once('close', resolve));
    const streams = child.stdio as readonly unknown[] | undefined; // none if it never began
    const gate = streams?.[IDENTITY_FD] as Writable | undefined;
    const watcher = streams?.[WATCHER_FD] as Duplex | undefined;
    gate?.on('error', () => {}); // EPIPE: it has ended
    let isNamed = false;
    return {
      ...common,
      child,
      watcher,
      ended,
      closed,
      name(identity) {
        isNamed = true;
        const fds = { tickets: TICKETS_FD, watcher: launch.isWatched ? WATCHER_FD : null };
        gate?.end(`${JSON.stringify({ ...identity, ...fds } satisfies WorkerIdentity)}\n`, () => gate.destroy());
      },
      async discard() {
        if (isNamed) return;
        killGroup(child);
        await ended;
        tickets?.close();
      },
    };
  } catch (error) {
    const ended = Promise.resolve({ error: toReport(error) });
    return { ...common, child: undefined, watcher: undefined, ended, closed: ended, name() {}, discard: async () => tickets?.close() };
  }
}

/** SIGKILL takes the children of a worker along: nobody else would. */
export function killGroup(child: ChildProcess): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
  } catch {
    // ESRCH: it died before it could become the leader of its group
  }
  child.kill('SIGKILL');
}

function forkChild({ script, args, node, nodeArgs, cwd, env, isWatched }: Launch, tickets: Tickets | undefined, runtime: string): ChildProcess {
  ensureDescriptors();
  return fork(script, args, {
    execPath: node,
    execArgv: ['--require', runtime, ...nodeArgs], // nothing of the program's comes before it, but for what NODE_OPTIONS name
    cwd,
    env: { ...env, [WORKER_VARIABLE]: String(IDENTITY_FD) },
    detached: true,
    stdio: ['ignore', 'inherit', 'inherit', 'ipc', tickets?.fd ?? 'ignore', 'pipe', ...(isWatched ? (['pipe'] as const) : [])],
  });
}

/** They have a path for a moment only, so any folder will do; in memory first, which no full disk concerns. A worker starts without them, if need be. */
function tryTickets(folders: readonly string[]): Pick<Spawned, 'tickets' | 'ticketsError'> {
  const name = `.graceful-super.${process.pid.toString(36)}.${process.hrtime.bigint().toString(36)}.${++spawnedSoFar}`;
  let ticketsError: unknown;
  for (const folder of folders) {
    try {
      return { tickets: makeTickets(join(folder, name)), ticketsError: undefined };
    } catch (error) {
      ticketsError = error;
    }
  }
  return { tickets: undefined, ticketsError };
}

/**
 * A spawn that runs out of descriptors half-way leaks its end of the channel, since Node forgets it (tried on 20, 22, 24, 26): better not begun.
 * @throws EMFILE, ENFILE
 */
function ensureDescriptors(): void {
  const spare: number[] = [];
  try {
    while (spare.length < SPARE_DESCRIPTORS) spare.push(openSync('/dev/null', 'r'));
  } finally {
    for (const fd of spare) closeSync(fd);
  }
}
