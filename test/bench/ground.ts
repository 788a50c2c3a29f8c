/**
 * What a benchmark stands on: processes, ports and folders. Whatever was started is ended and removed when this process
 * ends, however it ends; each process carries a mark in its environment and has a session of its own, so that nothing else
 * can be meant.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, readlinkSync, realpathSync, rmSync } from 'node:fs';
import http2 from 'node:http2';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dial, type Protocol } from './connections.ts';

const GENTLY_MS = 10_000;
const [KILL_TRIES, KILL_PAUSE_MS] = [500, 10];
/** Below the ports that clients get from the kernel. */
const PORTS = [10_000, 30_000] as const;

export interface SpawnOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** What Node's `fork` adds. */
  readonly ipc?: boolean;
}

/** Opened once a run. */
export class Ground {
  readonly #folder = mkdtempSync(join(tmpdir(), 'gs-bench-'));
  readonly #mark = randomUUID();
  readonly #sessions = new Set<number>();
  #folders = 0;
  #certificate: { readonly KEY: string; readonly CERT: string } | undefined;
  #nextPort = PORTS[0] + Math.floor(Math.random() * (PORTS[1] - PORTS[0] - 1000));

  constructor() {
    process.once('exit', () => this.clear());
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(1));
  }

  /** A new folder. */
  folder(): string {
    const path = join(this.#folder, String(++this.#folders));
    mkdirSync(path);
    return path;
  }

  /** A port on which nobody listens. */
  async port(): Promise<number> {
    for (;;) {
      const port = this.#nextPort++;
      const server = createServer();
      const isFree = await new Promise<boolean>((resolve) => {
        server.once('error', () => resolve(false)).listen(port, '127.0.0.1', () => resolve(true));
      });
      if (!isFree) continue;
      server.close();
      await once(server, 'close');
      return port;
    }
  }

  /** Files of a certificate that nobody trusts, made once. */
  certificate(): { readonly KEY: string; readonly CERT: string } {
    if (this.#certificate !== undefined) return this.#certificate;
    const folder = this.folder();
    const files = { KEY: join(folder, 'key.pem'), CERT: join(folder, 'cert.pem') };
    const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
    execFileSync('openssl', ['req', '-x509', ...curve, '-subj', '/CN=localhost', '-keyout', files.KEY, '-out', files.CERT], { stdio: 'pipe' });
    this.#certificate = files;
    return files;
  }

  /** Starts a process whose output is kept for `complain`. */
  spawn(command: string, args: readonly string[], { env = {}, cwd = '/', ipc = false }: SpawnOptions = {}): ChildProcess {
    const log = openSync(this.#log(), 'a');
    const child = spawn(command, args, {
      cwd,
      env: { ...plainEnvironment(), ...env, BENCH_MARK: this.#mark },
      detached: true,
      stdio: ipc ? ['ignore', log, log, 'ipc'] : ['ignore', log, log],
    });
    closeSync(log);
    if (child.pid !== undefined) this.#sessions.add(child.pid);
    child.once('error', () => {}); // told by its exit code
    return child;
  }

  /** Runs a command to its end. @throws Error with everything that was printed where it fails */
  async run(command: string, args: readonly string[], options: SpawnOptions = {}): Promise<void> {
    const child = this.spawn(command, args, options);
    const [code] = (await once(child, 'exit')) as [number | null];
    if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code}\n${this.printed()}`);
  }

  /** Ends a process by its signal, and after a while without mercy; whatever else was started goes along. */
  async end(child: ChildProcess, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await this.endAlone(child, signal, GENTLY_MS);
    this.killAll();
  }

  /** Ends a process, and nothing else. */
  async endAlone(child: ChildProcess, signal: NodeJS.Signals, patienceMs: number): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const timer = setTimeout(() => child.kill('SIGKILL'), patienceMs);
    child.kill(signal);
    await once(child, 'exit');
    clearTimeout(timer);
  }

  /** Ends whatever was started here and still runs; when it returns nothing does. */
  killAll(): void {
    for (let tries = 0; tries < KILL_TRIES; tries++) {
      const left = this.#ours();
      if (left.length === 0) return;
      for (const pid of left) tryKill(pid);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, KILL_PAUSE_MS); // also at this process's own end
    }
  }

  /** What all processes have printed lately. */
  printed(): string {
    try {
      return readFileSync(this.#log(), 'utf8').slice(-4_000);
    } catch {
      return ''; // ENOENT: nothing was started
    }
  }

  clear(): void {
    this.killAll();
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 5 });
  }

  #log(): string {
    return join(this.#folder, 'log');
  }

  #ours(): number[] {
    return processes().flatMap(({ pid, session }) => (pid !== process.pid && (this.#sessions.has(session) || isMarked(pid, this.#mark)) ? [pid] : []));
  }
}

/** Direct children of a process that are alive. */
export function childrenOf(parent: number): number[] {
  return processes().flatMap((one) => (one.parent === parent ? [one.pid] : []));
}

/** Whether a process runs this file; no script does, for its interpreter runs. */
export function runs(pid: number, file: string): boolean {
  try {
    return readlinkSync(`/proc/${pid}/exe`) === realpathSync(file);
  } catch {
    return false; // ended meanwhile
  }
}

/** Whether a process runs; zombies don't. */
export function isAlive(pid: number): boolean {
  return statOf(pid) !== undefined;
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Asks until it is so. @throws Error after a minute */
export async function until(isSo: () => boolean | Promise<boolean>, what: string, everyMs = 5): Promise<void> {
  const giveUpAt = performance.now() + 60_000;
  while (!(await isSo())) {
    if (performance.now() > giveUpAt) throw new Error(`waited in vain for ${what}`);
    await pause(everyMs);
  }
}

function tryKill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // ESRCH: it has just ended
  }
}

/** Our environment without what changes how Node, Python or Ruby start. */
function plainEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(NODE_|npm_|PYTHON|RUBY|GEM_|GRACEFUL_SUPER_|PM2_|SSL_CERT)/.test(name)));
}

interface Stat {
  readonly pid: number;
  readonly parent: number;
  readonly session: number;
}

function processes(): Stat[] {
  return readdirSync('/proc').flatMap((entry) => {
    const stat = /^\d+$/.test(entry) ? statOf(Number(entry)) : undefined;
    return stat === undefined ? [] : [stat];
  });
}

/** @see proc_pid_stat(5) */
function statOf(pid: number): Stat | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const [state, parent, , session] = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return state === 'Z' || state === 'X' ? undefined : { pid, parent: Number(parent), session: Number(session) };
  } catch {
    return undefined; // ENOENT, ESRCH: it has ended
  }
}

function isMarked(pid: number, mark: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'latin1').includes(mark);
  } catch {
    return false; // ended meanwhile, or another user's
  }
}

/** The first number in the answer to one request on a connection of its own; undefined where there was no answer. */
export function answerOf(port: number, protocol: Protocol = 'http'): Promise<string | undefined> {
  if (protocol === 'h2c' || protocol === 'h2') return answerOfHttp2(port, protocol);
  return new Promise((resolve) => {
    let text = '';
    const socket = dial(port, protocol);
    socket.setEncoding('latin1').setTimeout(5_000, () => socket.destroy());
    socket.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    socket.on('data', (part: string) => {
      text += part;
    });
    socket.on('error', () => {}); // refused or reset: no answer
    socket.once('close', () => resolve(/^HTTP\/1\.1 200 .*\r\n\r\n(?:\w+\r\n)?(\d+)/s.exec(text)?.[1]));
  });
}

function answerOfHttp2(port: number, protocol: 'h2c' | 'h2'): Promise<string | undefined> {
  return new Promise((resolve) => {
    const session = http2.connect(`${protocol === 'h2' ? 'https' : 'http'}://127.0.0.1:${port}`, { rejectUnauthorized: false });
    let text = '';
    const stream = session.request({ ':path': '/' });
    stream.setEncoding('latin1').on('data', (part: string) => {
      text += part;
    });
    for (const each of [session, stream]) each.on('error', () => {}); // refused or reset: no answer
    stream.once('close', () => {
      session.destroy();
      resolve(/^(\d+)/.exec(text)?.[1]);
    });
    stream.setTimeout(5_000, () => session.destroy());
  });
}
