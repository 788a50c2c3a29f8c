/** One worker's process as the master sees it: started here, spoken to here, signalled by its handle and never by a number. */
import { type ChildProcess, fork } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { Server, Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { toReport } from '../errors.ts';
import { type Handle, onHidden, sendHidden } from '../node/channel.ts';
import type { ConnectionHandle } from '../node/connection.ts';
import { parseFromWorker } from '../protocol/from-worker.ts';
import { type ErrorReport, type FromWorker, type ToWorker, WORKER_VARIABLE, type WorkerIdentity } from '../protocol/worker.ts';
import type { Launch } from './release.ts';

const PRELOAD = fileURLToPath(new URL('../worker/preload.cjs', import.meta.url));
/** Where a worker finds its tickets: after its standard streams and the channel. */
const TICKETS_FD = 4;
/** A spawn takes four descriptors at once, and its child some until it has begun. */
const SPARE_DESCRIPTORS = 16;
/** A worker's last words may still be in the channel when its end is told. */
const LAST_WORDS_MS = 500;

/** How a process ended; `error` is what it said of it, or why it never began. */
export type ProcessExit =
  | { readonly reason: 'exit'; readonly code: number; readonly error?: ErrorReport }
  | { readonly reason: 'signal'; readonly signal: string; readonly error?: ErrorReport }
  | { readonly reason: 'spawn-failed'; readonly error: ErrorReport };

/** What the master wants to hear. */
export interface WorkerListener {
  /** `handle` comes with an `offer`. */
  onMessage(message: FromWorker, handle?: ConnectionHandle): void;
  /** It said something that is none of ours. */
  onNonsense(mistake: string): void;
  /** Its channel is closed: it will drain, and can't be told anything more. */
  onDisconnect(): void;
  onExit(exit: ProcessExit): void;
}

/** A running worker. */
export interface WorkerProcess {
  readonly pid: number | undefined;
  send(message: ToWorker, handle?: Handle): void;
  signal(signal: 'SIGTERM' | 'SIGKILL'): void;
  /** Where its event loop stands still; undefined where that can't be told. */
  stack(): Promise<string | undefined>;
}

/** Starts a worker in a process group of its own, so that ^C at a terminal reaches the master alone. Never throws: what fails is told by `onExit`. */
export function startWorker(launch: Launch, identity: Omit<WorkerIdentity, 'tickets'>, tickets: number | undefined, listener: WorkerListener): WorkerProcess {
  const { script, args, node, nodeArgs, cwd, env } = launch;
  try {
    ensureDescriptors();
    const child = fork(script, args, {
      execPath: node,
      execArgv: [...nodeArgs, '--require', PRELOAD],
      cwd,
      env: { ...env, [WORKER_VARIABLE]: JSON.stringify({ ...identity, tickets: TICKETS_FD } satisfies WorkerIdentity) },
      detached: true,
      stdio: ['ignore', 'inherit', 'inherit', 'ipc', tickets ?? 'ignore'],
    });
    listenTo(child, listener);
    return {
      pid: child.pid,
      send: (message, handle) => sendHidden(child, message, handle),
      signal: (signal) => signalWorker(child, signal),
      stack: () => stackOf(child),
    };
  } catch (error) {
    setImmediate(() => listener.onExit({ reason: 'spawn-failed', error: toReport(error) }));
    return { pid: undefined, send() {}, signal() {}, stack: async () => undefined };
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

function listenTo(child: ChildProcess, listener: WorkerListener): void {
  let lastWords: ErrorReport | undefined;
  let hasEnded = false;
  const end = (exit: ProcessExit) => {
    if (hasEnded) return;
    hasEnded = true;
    listener.onExit(exit);
  };
  onHidden(child, (body, handle) => {
    const message = parseFromWorker(body);
    if ('mistake' in message || message.type !== 'offer' || hasEnded) handle?.close(); // kept, it would leak
    if ('mistake' in message) return listener.onNonsense(message.mistake);
    if (message.type === 'failed') lastWords = message.error;
    if (!hasEnded) listener.onMessage(message, handle);
  });
  child.on('message', (message, handle) => {
    if (handle instanceof Socket || handle instanceof Server) closeForeign(handle);
    if (message === 'ready') return sendHidden(child, { type: 'said-ready' } satisfies ToWorker); // how a program tells PM2
    listener.onNonsense(`not a message of this protocol: ${JSON.stringify(message)?.slice(0, 200)}`);
  });
  child.once('disconnect', () => {
    // a channel mostly closes because its process ends, which tells more
    setTimeout(() => hasEnded || listener.onDisconnect(), LAST_WORDS_MS).unref();
  });
  child.once('error', (error) => {
    if (child.pid === undefined) end({ reason: 'spawn-failed', error: toReport(error) });
  });
  child.once('exit', (code, signal) => {
    const tell = () => end(exitOf(code, signal, lastWords));
    const timer = setTimeout(tell, LAST_WORDS_MS);
    child.once('close', () => {
      clearTimeout(timer);
      tell();
    });
  });
}

/** A handle that a program sent to its parent, whom it took for somebody else: kept, it would leak. */
function closeForeign(handle: Socket | Server): void {
  if (handle instanceof Server) handle.close();
  else handle.destroy();
}

function exitOf(code: number | null, signal: NodeJS.Signals | null, lastWords: ErrorReport | undefined): ProcessExit {
  const error = lastWords === undefined ? {} : { error: lastWords };
  return signal === null ? { reason: 'exit', code: code ?? 0, ...error } : { reason: 'signal', signal, ...error };
}

/** Loaded only then: it needs `crypto`, which takes a megabyte. */
async function stackOf(child: ChildProcess): Promise<string | undefined> {
  const inspector = await import('../node/inspector.ts');
  return child.pid === undefined ? undefined : inspector.stackOf(child.pid, () => child.kill('SIGUSR1'));
}

/** SIGKILL takes the children of the worker along: nobody else would. */
function signalWorker(child: ChildProcess, signal: 'SIGTERM' | 'SIGKILL'): void {
  const isRunning = child.pid !== undefined && child.exitCode === null && child.signalCode === null;
  if (!isRunning) return;
  try {
    if (signal === 'SIGKILL') process.kill(-(child.pid as number), signal);
  } catch {
    // ESRCH: it died before it could become the leader of its group
  }
  child.kill(signal);
}
