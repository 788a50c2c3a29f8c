/** One worker's process as the master sees it: started here, spoken to here, signalled by its handle and never by a number. */
import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { Server, Socket } from 'node:net';
import type { Cancel, Clock } from '../../kernel.ts';
import { type Handle, onHidden, sendHidden } from '../../node/channel.ts';
import type { ConnectionHandle } from '../../node/connection.ts';
import { limitLines } from '../../node/unended-line.ts';
import { parseFromWorker } from '../../protocol/from-worker.ts';
import { type ErrorReport, type FromWorker, type ToWorker, WORKER_VARIABLE, type WorkerIdentity } from '../../protocol/worker.ts';
import { sweepGroup } from './leftovers.ts';
import { type Ending, killGroup, type Spawned } from './spawn.ts';
import { stackAsker } from './stack.ts';

/** Of what a worker writes into its channel, in characters; a program may send its parent long messages, too. */
const MOST_OF_A_LINE = 16 * 1024 * 1024;
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
  /** It said something in our name that is none of ours. */
  onNonsense(mistake: string): void;
  /** That was to be the listen of this number. */
  onUnclear(listen: number): void;
  /** Its program said something to its parent, whoever that is: programs for PM2, nodemon and others do. */
  onForeign(message: unknown): void;
  /** Its channel is closed: it will drain, and can't be told anything more; or it is another program now. */
  onDisconnect(isSupplanted: boolean): void;
  /** `swept` settles when its children have ended, too. */
  onExit(exit: ProcessExit, swept: Promise<void>): void;
}

/** A running worker. */
export interface WorkerProcess {
  readonly pid: number | undefined;
  /** `onLost`: the handle did not reach the worker, nor did the message. */
  send(message: ToWorker, handle?: Handle, onLost?: () => void): void;
  signal(signal: 'SIGTERM' | 'SIGKILL'): void;
  /** Where its event loop stands still; undefined where that can't be told. */
  stack(): Promise<string | undefined>;
}

/** Makes a spawned process a worker. */
export function startWorker(spawned: Spawned, identity: Omit<WorkerIdentity, 'protocol' | 'tickets' | 'watcher'>, listener: WorkerListener): WorkerProcess {
  const { child } = spawned;
  listenTo(spawned, listener);
  spawned.name(identity);
  if (child === undefined) return { pid: undefined, send() {}, signal() {}, stack: async () => undefined };
  return {
    pid: child.pid,
    send: (message, handle, onLost) => sendHidden(child, message, handle, onLost),
    signal: (signal) => signalWorker(spawned, child, signal),
    stack: stackAsker(spawned.watcher, spawned.kernel),
  };
}

function listenTo({ child, ended, closed, kernel }: Spawned, listener: WorkerListener): void {
  let lastError: ErrorReport | undefined;
  let hasEnded = false;
  let callOff: Cancel = () => {};
  void ended.then(async (ending) => {
    const swept = 'error' in ending || child?.pid === undefined ? Promise.resolve() : sweepGroup(child.pid, kernel);
    if (!('error' in ending)) await lastWords(closed, kernel);
    hasEnded = true;
    callOff();
    listener.onExit(exitOf(ending, lastError), swept);
  });
  if (child === undefined) return;
  onHidden(child, (body, handle) => {
    const message = parseFromWorker(body);
    if ('mistake' in message || message.type !== 'offer' || hasEnded) handle?.close(); // kept, it would leak
    if ('mistake' in message) {
      if (message.listen !== null) listener.onUnclear(message.listen);
      return listener.onNonsense(message.mistake);
    }
    if (message.type === 'failed') lastError = message.error;
    if (!hasEnded) listener.onMessage(message, handle);
  });
  limitLines(child, MOST_OF_A_LINE, () => {
    listener.onNonsense('a message without an end: its channel is closed, so it will drain and be replaced');
    if (child.connected) child.disconnect();
  });
  child.on('message', (message, handle) => {
    if (handle instanceof Socket || handle instanceof Server) closeForeign(handle);
    if (message === 'ready') return sendHidden(child, { type: 'said-ready' } satisfies ToWorker); // how a program tells PM2
    listener.onForeign(message);
  });
  // a channel mostly closes because its process ends, which tells more
  const onDisconnect = () => {
    if (!hasEnded) callOff = kernel.after(LAST_WORDS_MS, () => listener.onDisconnect(isSupplanted(child)));
  };
  if (child.connected) child.once('disconnect', onDisconnect);
  else onDisconnect();
}

/**
 * execve(2), which programs have as `process.execve` since Node 22.15, closes the channel and leaves the pid. /proc shows the environment that a program was
 * executed with, and the variable that makes a worker is deleted before any program of ours could pass it on. Where there is no /proc it can't be told.
 */
function isSupplanted({ pid }: ChildProcess): boolean {
  try {
    return pid !== undefined && !readFileSync(`/proc/${pid}/environ`, 'latin1').includes(`${WORKER_VARIABLE}=`);
  } catch {
    return false; // ENOENT; EACCES: it has changed its user
  }
}

/** Settles with the end of the channel; should others keep that open, a moment later. */
function lastWords(closed: Promise<unknown>, clock: Clock): Promise<void> {
  return new Promise((resolve) => {
    const cancel = clock.after(LAST_WORDS_MS, resolve);
    void closed.then(() => {
      cancel();
      resolve();
    });
  });
}

/** A handle that a program sent to its parent, whom it took for somebody else: kept, it would leak. */
function closeForeign(handle: Socket | Server): void {
  if (handle instanceof Server) handle.close();
  else handle.destroy();
}

function exitOf(ending: Ending, lastError: ErrorReport | undefined): ProcessExit {
  if ('error' in ending) return { reason: 'spawn-failed', error: ending.error };
  const error = lastError === undefined ? {} : { error: lastError };
  return ending.signal === null ? { reason: 'exit', code: ending.code ?? 0, ...error } : { reason: 'signal', signal: ending.signal, ...error };
}

function signalWorker({ kernel }: Spawned, child: ChildProcess, signal: 'SIGTERM' | 'SIGKILL'): void {
  const isRunning = child.pid !== undefined && child.exitCode === null && child.signalCode === null;
  if (!isRunning) return;
  if (signal === 'SIGKILL') killGroup(kernel, child);
  else child.kill(signal);
}
