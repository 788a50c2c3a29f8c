/**
 * Where a master lives that is to be destroyed: its configuration, which the faults rewrite; a small disk that carries its
 * control folder, its pid file and perhaps its log; a reader of its log that can be stopped; a clock that can be set.
 */
import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fixture, type LoggedEvent, poll, type RigOptions, smallHeap } from '../rig.ts';
import type { Abilities } from './abilities.ts';
import { type Clock, showClock, unclocked } from './clock.ts';

/** `pipe`: the log goes to somebody who reads it; `file`: to a file on the small disk. */
export type LogKind = 'pipe' | 'file';

/** Code as the configuration names it. */
export interface Release {
  /** In test/fixtures. */
  readonly script: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly nodeArg?: readonly string[];
  readonly readyTimeout?: string;
}

export const GOOD: Release = { script: 'counts-requests.mjs' };
export const WORKERS = 2;

const DISK = 'size=1m,nr_inodes=100,mode=0755';

export class Place implements Disposable {
  readonly log: LogKind;
  readonly abilities: Abilities;
  readonly disk: string;
  readonly logFile: string;
  /** undefined: this machine can't show another one. */
  readonly clock: Clock | undefined;
  readonly #folder: string;
  readonly #config: string;

  constructor(log: LogKind, abilities: Abilities) {
    this.log = log;
    this.abilities = abilities;
    this.#folder = mkdtempSync(join(tmpdir(), 'gs-destruction-'));
    chmodSync(this.#folder, 0o755);
    this.disk = join(this.#folder, 'disk');
    this.#config = join(this.#folder, 'app.json');
    this.clock = abilities.clock === undefined ? undefined : showClock(join(this.#folder, 'clock'), abilities.clock);
    this.logFile = join(this.disk, 'master.log');
    mkdirSync(this.disk);
    if (abilities.disk) spawnSync('mount', ['-t', 'tmpfs', '-o', DISK, 'tmpfs', this.disk]);
    if (abilities.become.length > 0) chownSync(this.disk, 65_534, 65_534);
    this.deploy(GOOD);
  }

  get options(): RigOptions & { readonly runtimeDir: string } {
    const { become, reader } = this.abilities;
    const piped = this.log === 'pipe' && reader ? ['bash', '-c', 'exec "$@" 2> >(exec env --unset=RIG_MARK cat >&2)', 'bash'] : [];
    const clocked = ['env', ...Object.entries(this.clock?.env ?? {}).map(([key, value]) => `${key}=${value}`)];
    return {
      launcher: [...piped, ...become, ...clocked],
      flags: [
        ...['--config', this.#config, '--workers', String(WORKERS), '--pid-file', join(this.disk, 'master.pid')],
        ...['--idle-grace', '10m', '--drain-timeout', '10m', '--kill-timeout', '30s', '--max-draining', '100'],
        ...['--restart-limit', '1000', '--backoff-min', '10ms', '--backoff-max', '100ms'],
        ...(this.log === 'file' ? ['--log-file', this.logFile] : []),
      ],
      nodeFlags: smallHeap,
      env: { TELLS_ACCEPTED: 'yes' },
      runtimeDir: join(this.disk, 'run'),
      waitReady: false,
    };
  }

  /** The next reload finds this. */
  deploy(release: Release | 'nonsense'): void {
    const text = release === 'nonsense' ? '{ "script": ' : describe(release);
    writeFileSync(`${this.#config}.new`, text);
    renameSync(`${this.#config}.new`, this.#config);
  }

  /** Not a byte more goes onto the disk, nor a file. @returns makes room again */
  fill(): () => void {
    const fillers = join(this.disk, 'fillers');
    mkdirSync(fillers);
    for (const bytes of [65_536, 4_096, 512, 1]) untilFull(() => appendFileSync(join(fillers, 'bytes'), Buffer.alloc(bytes)));
    let count = 0;
    untilFull(() => writeFileSync(join(fillers, String(++count)), ''));
    return () => rmSync(fillers, { recursive: true, force: true });
  }

  /** Lines of the log file so far; those that a full disk has cut are left out. */
  logged(): LoggedEvent[] {
    const files = existsSync(this.disk) ? readdirSync(this.disk).filter((file) => file.startsWith('master.log')) : [];
    const lines = files.flatMap((file) => readFileSync(join(this.disk, file), 'utf8').split('\n'));
    return lines.flatMap((line) => (line.startsWith('{') && line.endsWith('}') ? [JSON.parse(line) as LoggedEvent] : []));
  }

  /** What the master has not removed. */
  leftovers(): string[] {
    const entries = readdirSync(this.disk, { recursive: true }).map(String);
    return entries.filter((entry) => entry !== 'run' && !entry.startsWith('master.log'));
  }

  /** Waits for an event, of a certain generation, in the log file. */
  async untilLogged(name: string, generation?: number): Promise<LoggedEvent> {
    const find = () => this.logged().find((logged) => logged.event === name && (generation === undefined || logged['generation'] === generation));
    await poll(
      () => find() !== undefined,
      () => `${name} ${generation ?? ''} is not logged`,
    );
    return find() as LoggedEvent;
  }

  [Symbol.dispose](): void {
    this.clock?.[Symbol.dispose]();
    if (this.abilities.disk) spawnSync('umount', [this.disk]);
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function describe(release: Release): string {
  return JSON.stringify({ readyTimeout: '30s', ...release, script: fixture(release.script), env: { ...release.env, ...unclocked } });
}

function untilFull(write: () => void): void {
  try {
    for (;;) write();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  }
}
