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
import { fixture, type LoggedEvent, poll, type RigOptions } from '../rig.ts';
import type { Abilities } from './abilities.ts';

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

const DISK_SIZE = '1m';

export class Place implements Disposable {
  readonly log: LogKind;
  readonly abilities: Abilities;
  readonly disk: string;
  readonly logFile: string;
  readonly #folder: string;
  readonly #config: string;
  readonly #clock: string;

  constructor(log: LogKind, abilities: Abilities) {
    this.log = log;
    this.abilities = abilities;
    this.#folder = mkdtempSync(join(tmpdir(), 'gs-destruction-'));
    chmodSync(this.#folder, 0o755);
    this.disk = join(this.#folder, 'disk');
    this.#config = join(this.#folder, 'app.json');
    this.#clock = join(this.#folder, 'clock');
    this.logFile = join(this.disk, 'master.log');
    mkdirSync(this.disk);
    if (abilities.disk) spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_SIZE},mode=0755`, 'tmpfs', this.disk]);
    if (abilities.become.length > 0) chownSync(this.disk, 65_534, 65_534);
    this.deploy(GOOD);
    this.setClock('+0');
  }

  get options(): RigOptions & { readonly runtimeDir: string } {
    const { become, reader, clock } = this.abilities;
    const piped = this.log === 'pipe' && reader ? ['bash', '-c', 'exec "$@" 2> >(exec env --unset=RIG_MARK cat >&2)', 'bash'] : [];
    const clocked = clock === undefined ? [] : ['env', `LD_PRELOAD=${clock}`, `FAKETIME_TIMESTAMP_FILE=${this.#clock}`];
    return {
      launcher: [...piped, ...become, ...clocked],
      flags: [
        ...['--config', this.#config, '--workers', String(WORKERS), '--pid-file', join(this.disk, 'master.pid')],
        ...['--idle-grace', '10m', '--drain-timeout', '10m', '--max-draining', '100'],
        ...['--restart-limit', '1000', '--backoff-min', '10ms', '--backoff-max', '100ms'],
        ...(this.log === 'file' ? ['--log-file', this.logFile] : []),
      ],
      env: { TELLS_ACCEPTED: 'yes', FAKETIME_NO_CACHE: '1', FAKETIME_DONT_FAKE_MONOTONIC: '1' },
      runtimeDir: join(this.disk, 'run'),
      waitReady: false,
    };
  }

  /** The next reload finds this. */
  deploy(release: Release | 'nonsense'): void {
    const text = release === 'nonsense' ? '{ "script": ' : JSON.stringify({ readyTimeout: '10s', ...release, script: fixture(release.script) });
    writeFileSync(`${this.#config}.new`, text);
    renameSync(`${this.#config}.new`, this.#config);
  }

  /** Not a byte more goes onto the disk. @returns makes room again */
  fill(): () => void {
    const filler = join(this.disk, 'filler');
    for (const bytes of [65_536, 4_096, 512, 1]) {
      try {
        for (;;) appendFileSync(filler, Buffer.alloc(bytes));
      } catch {
        // ENOSPC: that is what we want
      }
    }
    return () => rmSync(filler, { force: true });
  }

  /** `shift`: as faketime(1) takes it, such as `+10d`. */
  setClock(shift: string): void {
    writeFileSync(this.#clock, `${shift}\n`);
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

  /** Waits for the event in whatever kind of log. */
  async untilLogged(name: string): Promise<LoggedEvent> {
    let found: LoggedEvent | undefined;
    await poll(
      () => {
        found = this.logged().find(({ event }) => event === name);
        return found !== undefined;
      },
      () => `${name} is not logged`,
    );
    return found as LoggedEvent;
  }

  /** What the library of the clock keeps for a process is left behind when that is killed. */
  forgetClock(pid: number): void {
    for (const name of [`sem.faketime_sem_${pid}`, `faketime_shm_${pid}`]) rmSync(join('/dev/shm', name), { force: true });
  }

  [Symbol.dispose](): void {
    if (this.abilities.disk) spawnSync('umount', [this.disk]);
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
