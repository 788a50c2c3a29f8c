/** The pid file: complete from its first moment on, there only while the master is ready. What is there already is replaced only if it is one, and of a dead process. */
import { accessSync, constants, readFileSync, renameSync, rmSync, type Stats, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { GracefulError, systemCode } from '../errors.ts';
import { type OwnedFile, rememberFile } from '../owned-file.ts';
import { readProcessStat } from '../process-stat.ts';
import { checkFile, Distrust } from '../trust.ts';

/** Nothing that is worth keeping is so short. */
const MOST_BYTES = 32;
/** Of /proc on every Linux that Node runs on (USER_HZ). */
const TICKS_PER_SECOND = 100;
/** The time of boot is told in whole seconds. */
const ROUNDING_MS = 1_000;

/** Finds out before the start what could not be written after it. @throws GracefulError `pid-file-unwritable` */
export function checkPidFile(path: string): void {
  try {
    accessSync(dirname(path), constants.W_OK | constants.X_OK);
    readPidFile(path);
  } catch (cause) {
    throw unwritable(path, cause);
  }
}

/** @throws GracefulError `pid-file-unwritable` if it is that of another process that is alive */
export function refuseHeld(path: string): void {
  try {
    const found = readPidFile(path);
    if (found !== undefined && isHeld(found.pid, found.stats)) throw new Distrust(`it is that of process ${found.pid}, which is running`);
  } catch (cause) {
    throw unwritable(path, cause);
  }
}

/** Writes the master's pid. @throws GracefulError `pid-file-unwritable` */
export function writePidFile(path: string): OwnedFile {
  refuseHeld(path);
  const draft = `${path}.${process.pid}.${Date.now().toString(36)}`;
  try {
    writeFileSync(draft, `${process.pid}\n`, { mode: 0o644, flag: 'wx' }); // follows no link
    renameSync(draft, path);
    return rememberFile(path);
  } catch (cause) {
    if (systemCode(cause) !== 'EEXIST') rmSync(draft, { force: true }); // ENOSPC leaves it there, empty
    throw unwritable(path, cause);
  }
}

/** @throws Distrust where something else is there */
function readPidFile(path: string): { readonly pid: number; readonly stats: Stats } | undefined {
  const stats = checkFile(path);
  if (stats === undefined) return undefined;
  if (stats.isDirectory()) throw new Distrust('it is a directory');
  if (!stats.isFile() || stats.size > MOST_BYTES) throw new Distrust('it is there, and is no pid file');
  const text = readFileSync(path, 'latin1').trim();
  return { pid: /^\d+$/.test(text) ? Number(text) : 0, stats };
}

/** That process wrote the file, as far as one can know: it is alive, and began before. Where that can't be told (no /proc), the number counts as one used again. */
function isHeld(pid: number, { mtimeMs }: Stats): boolean {
  if (pid === 0 || pid === process.pid) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (systemCode(error) !== 'EPERM') return false; // ESRCH
  }
  const startedAt = startOf(pid);
  return startedAt !== undefined && startedAt <= mtimeMs + ROUNDING_MS;
}

/** When a process began, in milliseconds since 1970. */
function startOf(pid: number): number | undefined {
  try {
    const [, bootedAt] = /^btime (\d+)$/m.exec(readFileSync('/proc/stat', 'latin1')) ?? [];
    const { startTicks } = readProcessStat(pid);
    return bootedAt === undefined || Number.isNaN(startTicks) ? undefined : (Number(bootedAt) + startTicks / TICKS_PER_SECOND) * 1_000;
  } catch {
    return undefined; // ENOENT: no /proc, or not that of others
  }
}

function unwritable(path: string, cause: unknown): GracefulError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new GracefulError('pid-file-unwritable', `cannot write pid file ${path}: ${reason}`, { hint: 'pass another --pid-file', cause });
}
