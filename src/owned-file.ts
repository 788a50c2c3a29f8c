/**
 * Files that the master made (sockets, pid file, lock folder) and that must not outlive it. They are removed only while they are
 * still the very files it made; whoever is left may do it, so workers know them too. A worker's stats are `bigint`: see worker/identity.ts.
 */
import { type BigIntStats, lstatSync, rmdirSync, unlinkSync } from 'node:fs';

/** A file by its path and what tells it from a later one at the same path. */
export interface OwnedFile {
  readonly path: string;
  readonly dev: number;
  readonly ino: number;
  /** Inode numbers are used again, births are not; milliseconds. */
  readonly birthtimeMs: number;
}

/** Remembers a file that was just made. @throws the error of lstat(2) */
export function rememberFile(path: string): OwnedFile {
  return { path, ...markOf(lstatSync(path, { bigint: true })) };
}

/** True while the file at the path is the remembered one. */
export function isStillOurs(file: OwnedFile): boolean {
  const found = lstatSync(file.path, { bigint: true, throwIfNoEntry: false });
  const now = found && markOf(found);
  return now !== undefined && now.dev === file.dev && now.ino === file.ino && now.birthtimeMs === file.birthtimeMs;
}

/** Removes the file, or the empty folder, if it is still ours. Never throws: what can't be removed stays. */
export function removeIfOurs(file: OwnedFile): void {
  try {
    if (!isStillOurs(file)) return;
    if (lstatSync(file.path, { bigint: true }).isDirectory()) rmdirSync(file.path);
    else unlinkSync(file.path);
  } catch {
    // somebody else removed it first (ENOENT), took it over (ENOTEMPTY) or took the rights away (EACCES): nothing is left to do
  }
}

/** Numbers, since they cross to workers as JSON. */
function markOf({ dev, ino, birthtimeMs }: BigIntStats): Omit<OwnedFile, 'path'> {
  return { dev: Number(dev), ino: Number(ino), birthtimeMs: Number(birthtimeMs) };
}
