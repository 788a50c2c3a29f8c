/** Runs a program twice: by plain `node`, and as the only worker of a master that ends as its program ends. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from '../helpers/rig.ts';

/** The two ways, in the order in which they are tried. */
export const ways = ['plain', 'supervised'] as const;
export type Way = (typeof ways)[number];

/** How a run ended. */
export interface Ended {
  /** Exit code, or the name of the signal; `too slow` if it had to be killed. */
  readonly end: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly file: string;
  readonly args?: readonly string[];
  readonly cwd: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly limitMs: number;
}

/** A program that runs. */
export interface Run {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  /** The first match in what it has written, or yet writes, to stdout. @throws if it ends before */
  said(pattern: RegExp): Promise<RegExpExecArray>;
}

const MASTER_ALLOWANCE_MS = 10_000;
const bin = join(root, 'bin/graceful-super.js');

/** Starts it; it is ended when its time is over. */
export function start(way: Way, { file, args = [], cwd, env = {}, limitMs }: RunOptions): Run {
  const runtimeDir = mkdtempSync(join(tmpdir(), 'gs-'));
  const supervised = [bin, 'start', file, '--restart', 'never', '--name', 'run', '--runtime-dir', runtimeDir, '--log-format', 'json', '--', ...args];
  const child = spawn(process.execPath, way === 'plain' ? [file, ...args] : supervised, {
    cwd,
    env: { ...process.env, ...env, PWD: cwd },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const written = { stdout: '', stderr: '' };
  const lookers = new Set<() => void>();
  const look = () => [...lookers].forEach((each) => void each());
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].setEncoding('utf8').on('data', (text: string) => {
      written[stream] += text;
      look();
    });
  }
  let hasEnded = false;
  const ended = limit(child, way, limitMs).then((end) => {
    hasEnded = true;
    rmSync(runtimeDir, { recursive: true, force: true });
    look();
    return { end, ...written };
  });
  const said = (pattern: RegExp) =>
    new Promise<RegExpExecArray>((resolve, reject) => {
      const find = () => {
        const found = pattern.exec(written.stdout);
        if (found) resolve(found);
        else if (hasEnded) reject(new Error(`${file} (${way}) ended without saying ${pattern}\n${written.stdout}\n${written.stderr}`));
        else return;
        lookers.delete(find);
      };
      lookers.add(find);
      find();
    });
  return { child, ended, said };
}

/** A master is asked to stop first: it takes its worker along. */
function limit(child: ChildProcess, way: Way, limitMs: number): Promise<number | string> {
  return new Promise((resolve, reject) => {
    let isLate = false;
    const timers = [
      setTimeout(() => {
        isLate = true;
        child.kill(way === 'plain' ? 'SIGKILL' : 'SIGTERM');
      }, limitMs),
      setTimeout(() => child.kill('SIGTERM'), limitMs + MASTER_ALLOWANCE_MS), // the second stops at once
    ];
    child.once('error', reject);
    child.once('close', (code, signal) => {
      for (const timer of timers) clearTimeout(timer);
      resolve(isLate ? 'too slow' : (code ?? signal ?? 'unknown'));
    });
  });
}
