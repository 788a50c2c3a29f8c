/**
 * A process for a worker, spawned before it is known which: it waits for its identity, and not one line of the program has run until it has that. So
 * the first one boots while its master still gets ready; and of a master that ends before, or is killed, nothing is left.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { type ErrorReport, toReport } from '../errors.ts';
import { WORKER_VARIABLE, type WorkerIdentity } from '../protocol/worker.ts';
import { makeTickets, type Tickets } from '../tickets.ts';
import type { Launch } from './release.ts';

const PRELOAD = fileURLToPath(new URL('../worker/preload.cjs', import.meta.url));
/** After the standard streams and the channel. */
const TICKETS_FD = 4;
const IDENTITY_FD = 5;
/** A spawn takes six descriptors at once, and its child some until it has begun. */
const SPARE_DESCRIPTORS = 18;

/** A process that waits, or what kept it from being. */
export interface Spawned {
  readonly launch: Launch;
  /** undefined: why is told by `ticketsError`, and it can't be given connections. */
  readonly tickets: Tickets | undefined;
  readonly ticketsError: unknown;
  readonly child: ChildProcess | undefined;
  /** Settles when it has ended, or when it is known that it never began. */
  readonly ended: Promise<Ending>;
  /** Settles when its channel is read to the end, too. */
  readonly closed: Promise<unknown>;
  /** Lets it be a worker. */
  name(identity: Omit<WorkerIdentity, 'tickets'>): void;
  /** Ends it if it was never named. */
  discard(): Promise<void>;
}

/** How a process ended. */
export type Ending = { readonly code: number | null; readonly signal: NodeJS.Signals | null } | { readonly error: ErrorReport };

let spawnedSoFar = 0;

/** Spawns in a process group of its own, so that ^C at a terminal reaches the master alone. Never throws: what fails is told by `ended`. `folder` is ours. */
export function spawnWorker(launch: Launch, folder: string): Spawned {
  const { tickets, ticketsError } = tryTickets(join(folder, `.${process.pid.toString(36)}.${++spawnedSoFar}.tickets`));
  const common = { launch, tickets, ticketsError };
  try {
    const child = forkChild(launch, tickets);
    const gate = (child.stdio as readonly unknown[])[IDENTITY_FD] as Writable | undefined;
    gate?.on('error', () => {}); // EPIPE: it has ended
    const ended = new Promise<Ending>((resolve) => {
      child.on('error', (cause) => child.pid === undefined && resolve({ error: toReport(cause) }));
      child.once('exit', (code, signal) => resolve({ code, signal }));
    });
    const closed = new Promise((resolve) => child.once('close', resolve));
    let isNamed = false;
    return {
      ...common,
      child,
      ended,
      closed,
      name(identity) {
        isNamed = true;
        gate?.end(JSON.stringify({ ...identity, tickets: TICKETS_FD } satisfies WorkerIdentity), () => gate.destroy());
      },
      async discard() {
        if (isNamed) return;
        child.kill('SIGKILL');
        await ended;
      },
    };
  } catch (error) {
    const ended = Promise.resolve({ error: toReport(error) });
    return { ...common, child: undefined, ended, closed: ended, name() {}, async discard() {} };
  }
}

function forkChild({ script, args, node, nodeArgs, cwd, env }: Launch, tickets: Tickets | undefined): ChildProcess {
  ensureDescriptors();
  return fork(script, args, {
    execPath: node,
    execArgv: [...nodeArgs, '--require', PRELOAD],
    cwd,
    env: { ...env, [WORKER_VARIABLE]: String(IDENTITY_FD) },
    detached: true,
    stdio: ['ignore', 'inherit', 'inherit', 'ipc', tickets?.fd ?? 'ignore', 'pipe'],
  });
}

/** A full disk must not keep a worker from starting. */
function tryTickets(path: string): Pick<Spawned, 'tickets' | 'ticketsError'> {
  try {
    return { tickets: makeTickets(path), ticketsError: undefined };
  } catch (ticketsError) {
    return { tickets: undefined, ticketsError };
  }
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
