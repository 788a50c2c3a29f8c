/**
 * Starts a real master with the built command line, waits for facts it logs, and at the end proves that nothing of it is
 * left: no process, no socket, no file. On failure everything that was logged is printed.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { type RequestOptions, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readProcessStat } from '../../src/process-stat.ts';
import type { Status } from '../../src/protocol/control.ts';
import { makeCertificate } from './wire.ts';

export const root: string = fileURLToPath(new URL('../..', import.meta.url));
const bin = join(root, 'bin/graceful-super.js');
const PATIENCE_MS = 60_000;

/** A logged event. */
export interface LoggedEvent {
  readonly event: string;
  readonly level: string;
  readonly message: string;
  readonly [field: string]: unknown;
}

/** For a master whose memory is measured: else what is measured is how late V8 collects. */
export const smallHeap: readonly string[] = ['--max-old-space-size=24', '--max-semi-space-size=1'];

export type Transport = 'plaintext' | 'TLS';

/** What tests run over that hold for each; a program without TLS knows nothing of the other one. */
export const transports: readonly Transport[] = ['plaintext', 'TLS'];

export interface RigOptions {
  /** In test/fixtures, or an absolute path; none if a configuration file among the flags names it. */
  readonly script?: string;
  /** A command that becomes the one that follows it. */
  readonly launcher?: readonly string[];
  /** For the Node that the master runs on. */
  readonly nodeFlags?: readonly string[];
  readonly args?: readonly string[];
  readonly flags?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  readonly name?: string;
  /** A folder that the test shares between masters. */
  readonly runtimeDir?: string;
  /** Descriptors that the master finds from 3 up, with LISTEN_PID its own. */
  readonly passes?: readonly number[];
  /** The command of another installation. */
  readonly command?: string;
  /** What the program's servers speak below their protocol: they are made to speak TLS. */
  readonly over?: Transport;
  /** False where the test itself looks at a start that fails. */
  readonly waitReady?: boolean;
}

export interface Finished {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Path of a fixture program. */
export function fixture(name: string): string {
  return join(root, 'test/fixtures', name);
}

const overTls = ['--handoff-tls', `--node-arg=--require=${fixture('over-tls.cjs')}`];
let made: ReturnType<typeof makeCertificate> | undefined;

/** One for all tests of a file. */
function certificate(): ReturnType<typeof makeCertificate> {
  if (made !== undefined) return made;
  const folder = temporaryFolder();
  process.once('exit', () => folder[Symbol.dispose]());
  made = makeCertificate(folder.path);
  return made;
}

/** Starts a master and waits until its first generation serves. */
export async function startMaster(options: RigOptions): Promise<Rig> {
  const rig = new Rig(options);
  if (options.waitReady !== false) {
    await rig.until('master-ready').catch(async (error) => {
      await rig.kill();
      throw error;
    });
  }
  return rig;
}

/** Runs the command line to its end. */
export async function cli(args: readonly string[], env: NodeJS.ProcessEnv = {}, cwd: string = root): Promise<Finished> {
  const child = spawn(process.execPath, [bin, ...args], { env: { ...process.env, ...env }, cwd, stdio: ['ignore', 'pipe', 'pipe'] });
  return finish(child);
}

/** A running master. */
export class Rig implements AsyncDisposable {
  readonly runtimeDir: string;
  readonly name: string;
  readonly events: LoggedEvent[] = [];
  readonly child: ChildProcess;
  readonly finished: Promise<Finished>;
  /** What its certificate is trusted by; undefined: it has none. */
  readonly ca: string | undefined;
  readonly #mark = randomUUID();
  readonly #ownsDir: boolean;
  #stdout = '';
  #stderr = '';
  #hasEnded = false;
  readonly #lookers = new Set<() => void>();
  #cursor = 0;
  #rest = '';

  constructor({
    script,
    launcher = [],
    nodeFlags = [],
    args = [],
    flags = [],
    env = {},
    cwd = root,
    name,
    runtimeDir,
    passes = [],
    command: entry = bin,
    over = 'plaintext',
  }: RigOptions) {
    const secure = over === 'TLS' ? certificate() : undefined;
    this.ca = secure?.ca;
    this.#ownsDir = runtimeDir === undefined;
    this.runtimeDir = runtimeDir ?? mkdtempSync(join(tmpdir(), 'gs-'));
    this.name = name ?? 'rig';
    const path = script === undefined ? [] : [/^[/.]/.test(script) ? script : fixture(script)];
    const all = [entry, 'start', ...path, '--name', this.name, '--runtime-dir', this.runtimeDir, '--log-format', 'json', ...(secure ? overTls : []), ...flags];
    const before = passes.length > 0 ? ['sh', '-c', 'LISTEN_PID=$$ exec "$@"', 'sh'] : launcher;
    const [command = '', ...rest] = [...before, process.execPath, ...nodeFlags, ...all];
    this.child = spawn(command, args.length > 0 ? [...rest, '--', ...args] : rest, {
      cwd,
      // a second for each reload adds up; tests of the probation say how long it is
      env: { ...process.env, GRACEFUL_SUPER_PROBATION: '0s', PWD: cwd, NODE_ENV: 'test', ...secure?.files, ...env, RIG_MARK: this.#mark },
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe', ...passes],
    });
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => this.#read(text));
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout += text;
      this.#lookAgain();
    });
    this.finished = finish(this.child).then((result) => {
      this.#hasEnded = true;
      this.#lookAgain();
      return { ...result, stdout: this.#stdout, stderr: this.#stderr };
    });
  }

  get pid(): number {
    return this.child.pid as number;
  }

  get stdout(): string {
    return this.#stdout;
  }

  get stderr(): string {
    return this.#stderr;
  }

  /** Address of the n-th listener, as `fetch` wants it. */
  url(index = 0): string {
    return `${this.ca === undefined ? 'http' : 'https'}://${this.addresses()[index]?.replace('[::]', '127.0.0.1').replace('0.0.0.0', '127.0.0.1')}`;
  }

  port(index = 0): number {
    return Number(this.addresses()[index]?.split(':').at(-1));
  }

  addresses(): readonly string[] {
    return (this.events.find(({ event }) => event === 'master-ready')?.['listening'] ?? []) as string[];
  }

  /** From now on `until` looks only at what is logged later. */
  forget(): void {
    this.#cursor = this.events.length;
  }

  /** The first event of that name, logged or yet to come. */
  until(name: string, matches: (event: LoggedEvent) => boolean = () => true): Promise<LoggedEvent> {
    return this.waitFor(() => this.events.slice(this.#cursor).find((event) => event.event === name && matches(event)), `the event ${name}`);
  }

  /** All events of that name so far. */
  all(name: string): LoggedEvent[] {
    return this.events.slice(this.#cursor).filter(({ event }) => event === name);
  }

  /** Waits until the function finds something; it is asked whenever the master or a worker writes. */
  waitFor<T>(find: () => T | undefined, what: string): Promise<T> {
    return new Promise((resolve, reject) => {
      const give = (reason: string) => reject(new Error(`${reason} while waiting for ${what}\n${this.#stderr}\n${this.#stdout}`));
      const timer = setTimeout(() => give('timed out'), PATIENCE_MS);
      const look = () => {
        const found = find();
        if (found !== undefined) resolve(found);
        else if (this.#hasEnded) give('the master ended');
        else return;
        clearTimeout(timer);
        this.#lookers.delete(look);
      };
      this.#lookers.add(look);
      look();
    });
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Reloads by SIGHUP and waits for the outcome. */
  async hup(): Promise<LoggedEvent> {
    this.forget();
    this.signal('SIGHUP');
    return this.until('reload-finished');
  }

  command(...args: string[]): Promise<Finished> {
    return cli([...args, '--runtime-dir', this.runtimeDir]);
  }

  status(): Promise<Status> {
    return new Promise((resolve, reject) => {
      const sent = request({ socketPath: join(this.runtimeDir, `${this.name}.sock`), path: '/status', agent: false }, async (response) => {
        let text = '';
        for await (const chunk of response) text += chunk;
        resolve(JSON.parse(text) as Status);
      });
      sent.once('error', reject);
      sent.end();
    });
  }

  /** pids of the workers in a phase. */
  async pids(phase = 'serving'): Promise<number[]> {
    return (await this.status()).workers.filter((worker) => worker.phase === phase).map(({ pid }) => pid as number);
  }

  /** Processes of this master that are alive, the master and children of workers included. */
  processes(): number[] {
    return pidsMarked(this.#mark);
  }

  /** Waits until no process of this master is left. */
  async gone(): Promise<void> {
    await poll(
      () => this.processes().length === 0,
      () => `processes are left: ${this.processes().map(describeProcess).join('; ')}\n${this.#stderr}`,
    );
  }

  /** Stops gracefully. */
  async stop(): Promise<Finished> {
    if (!this.#hasEnded) this.signal('SIGTERM');
    return this.finished;
  }

  async kill(): Promise<void> {
    for (const pid of this.processes()) tryKill(pid);
    await this.finished;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const timer = setTimeout(() => void this.kill(), PATIENCE_MS);
    await this.stop();
    clearTimeout(timer);
    await this.gone();
    if (!this.#ownsDir) return;
    assert.deepEqual(readdirSync(this.runtimeDir), [], 'the control folder is empty in the end');
    rmSync(this.runtimeDir, { recursive: true });
  }

  #lookAgain(): void {
    for (const look of [...this.#lookers]) look();
  }

  #read(text: string): void {
    this.#stderr += text;
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      if (!line.startsWith('{"time"')) continue;
      this.events.push(JSON.parse(line) as LoggedEvent);
    }
    this.#lookAgain();
  }
}

/** Asks again and again until it is so; for facts that nobody announces. */
export async function poll(isSo: () => boolean | Promise<boolean>, complaint: () => string): Promise<void> {
  const until = performance.now() + PATIENCE_MS;
  while (!(await isSo())) {
    if (performance.now() > until) throw new Error(complaint());
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Open descriptors of a process, by what they lead to. */
export function descriptors(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`);
    } catch {
      return []; // closed meanwhile
    }
  });
}

/** How many TCP sockets a process listens on. */
export function listensOn(pid: number): number {
  const sockets = new Set(descriptors(pid));
  const rows = ['tcp', 'tcp6'].flatMap((table) => readFileSync(`/proc/${pid}/net/${table}`, 'utf8').trim().split('\n').slice(1));
  return rows.map((row) => row.trim().split(/\s+/)).filter(([, , , state, , , , , , inode]) => state === '0A' && sockets.has(`socket:[${inode}]`)).length;
}

/** The file that the workers of a master load. */
export function runtimeOf({ pid, runtimeDir }: Rig): string | undefined {
  return ['/run', runtimeDir].map((folder) => join(folder, `graceful-super-worker-${pid}.cjs`)).find((path) => existsSync(path));
}

/** Resident memory of a process, in bytes. */
export function residentMemory(pid: number): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024;
}

/** One request on a connection of its own, which idle connections to an old worker can't answer. */
export function ask(url: string, options: RequestOptions = {}): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { agent: false, ...options }, async (response) => {
      let text = '';
      try {
        for await (const chunk of response.setEncoding('utf8')) text += chunk;
        resolve({ status: response.statusCode ?? 0, text });
      } catch (error) {
        reject(error);
      }
    });
    sent.once('error', reject);
    sent.end();
  });
}

export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false; // ESRCH, ENOENT
  }
}

/** A folder that is removed in the end. */
export function temporaryFolder(): { readonly path: string; [Symbol.dispose](): void } {
  const path = mkdtempSync(join(tmpdir(), 'gs-test-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** Living processes that carry a text in their environment. */
export function pidsMarked(mark: string): number[] {
  return readdirSync('/proc').flatMap((entry) => {
    if (!/^\d+$/.test(entry)) return [];
    try {
      return readFileSync(`/proc/${entry}/environ`, 'utf8').includes(mark) && isRunning(Number(entry)) ? [Number(entry)] : [];
    } catch {
      return []; // ended meanwhile
    }
  });
}

/** Processes that a process has started, and not yet reaped. @see proc_pid_stat(5) */
export function childrenOf(parent: number): number[] {
  return readdirSync('/proc').flatMap((entry) => {
    try {
      return readProcessStat(entry).parent === parent ? [Number(entry)] : [];
    } catch {
      return []; // no process, or none any more
    }
  });
}

function describeProcess(pid: number): string {
  try {
    return `${pid} ${readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')}`;
  } catch {
    return String(pid);
  }
}

function tryKill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // ESRCH: it has just ended
  }
}

/** What a process wrote, and how it ended. */
export function finish(child: ChildProcess): Promise<Finished> {
  return new Promise((resolve, reject) => {
    let stdout = '';
    let stderr = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}
