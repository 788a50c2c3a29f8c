/**
 * All that a master asks of the kernel for its workers, their connections and its sockets. Nobody else in it forks, signals a group, opens tickets, binds
 * or sets a timer, so that a test can take the kernel's place and refuse each of these calls in turn. What is said to a worker goes through the
 * `ChildProcess` that `fork` gives.
 */
import { type ChildProcess, type ForkOptions, fork, spawn } from 'node:child_process';
import { closeSync, openSync, readdirSync } from 'node:fs';
import type { Writable } from 'node:stream';
import { systemCode } from './errors.ts';
import { bindDatagramHandle, type DatagramHandle } from './node/datagram.ts';
import { bindHandle, type ListenHandle } from './node/handle.ts';
import { rememberChannel } from './node/unended-line.ts';
import { readProcessStat } from './process-stat.ts';
import { makeTickets, type Tickets } from './tickets.ts';

/** Calls off what was to happen. */
export type Cancel = () => void;

/** Time. */
export interface Clock {
  /** Monotonic milliseconds. */
  now(): number;
  after(ms: number, then: () => void): Cancel;
  every(ms: number, then: () => void): Cancel;
}

/** What can be asked for. */
export interface Kernel extends Clock {
  /** @throws what kept the process from being; some of it is told by its `error` event instead */
  fork(script: string, args: readonly string[], options: ForkOptions): ChildProcess;
  /** Runs a script that reads from us alone, in a session of its own: ^C at the terminal is not for it. `onEnd`: it has ended, or there was no shell, and nobody reads. */
  startShell(script: string, onEnd: () => void): Pick<Writable, 'write'>;
  /** SIGKILL to a process and all of its group. @throws ESRCH, EPERM */
  killGroup(leader: number): void;
  /**
   * A signal, or with 0 none, to what is left of a group whose leader has ended. @returns false: nothing is. A number is not given out again while a group has it;
   * where a process has it, the group was empty, and what has the number now is somebody else.
   */
  signalRest(leader: number, signal: 'SIGTERM' | 'SIGKILL' | 0): boolean;
  /** Some of a group still run: the dead stay in it until somebody reaps them, which in a container often nobody does. It looks at every process there is. */
  hasLiving(group: number): boolean;
  /** `path` is free, and is free again afterwards. @throws a system error */
  openTickets(path: string): Tickets;
  /** Binds without listening. @returns the handle, or an errno below 0 */
  bind(address: string, port: number, addressType: number, flags: number): ListenHandle | number;
  /** Binds without receiving. @returns as above */
  bindDatagram(address: string, port: number, addressType: number, flags: number): DatagramHandle | number;
}

/** A spawn takes six descriptors at once, and its child some until it has begun. */
const SPARE_DESCRIPTORS = 18;

const startedAt = process.hrtime.bigint(); // `performance` would load perf_hooks, which takes a millisecond of each start

/** The one of this machine. */
export const kernel: Kernel = {
  now: () => Number(process.hrtime.bigint() - startedAt) / 1e6,
  after(ms, then) {
    const timer = setTimeout(then, ms);
    return () => clearTimeout(timer);
  },
  every(ms, then) {
    const timer = setInterval(then, ms);
    return () => clearInterval(timer);
  },
  fork(script, args, options) {
    ensureDescriptors();
    const child = fork(script, args, options);
    rememberChannel(child);
    return child;
  },
  startShell(script, onEnd) {
    const shell = spawn('/bin/sh', ['-c', script], { cwd: '/', env: { PATH: process.env['PATH'] }, detached: true, stdio: ['pipe', 'ignore', 'ignore'] });
    shell.once('exit', onEnd);
    shell.once('error', onEnd); // ENOENT, EAGAIN
    const input: Writable | undefined = shell.stdin; // there is none after EMFILE
    input?.on('error', () => {}); // EPIPE: somebody has ended it
    shell.unref();
    return { write: (text: string) => input?.write(text) ?? false };
  },
  killGroup: (leader) => void process.kill(-leader, 'SIGKILL'),
  signalRest: (leader, signal) => !canSignal(leader, 0) && canSignal(-leader, signal),
  hasLiving: (group) => hasLivingIn('/proc', group),
  openTickets: makeTickets,
  bind: bindHandle,
  bindDatagram: bindDatagramHandle,
};

/** @returns false: ESRCH, there is nobody */
function canSignal(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, signal);
  } catch (error) {
    return systemCode(error) === 'EPERM'; // there is somebody, of another user
  }
}

/** `proc` is where processes are told of. @returns true as well where that can't be told @see proc_pid_stat(5) */
export function hasLivingIn(proc: string, group: number): boolean {
  try {
    const pids = readdirSync(proc).filter((entry) => /^\d+$/.test(entry));
    return pids.length === 0 || pids.some((pid) => isLivingOf(group, pid, proc));
  } catch {
    return true; // ENOENT, EMFILE
  }
}

function isLivingOf(group: number, pid: string, proc: string): boolean {
  try {
    const stat = readProcessStat(pid, proc);
    return stat.group === group && stat.state !== 'Z' && stat.state !== 'X';
  } catch (error) {
    return !['ENOENT', 'ESRCH'].includes(systemCode(error) ?? ''); // it has ended meanwhile
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
