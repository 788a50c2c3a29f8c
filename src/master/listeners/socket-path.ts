/**
 * The path of a Unix socket leads to our socket as long as we hold it. Programs unlink it before they listen, or on their way out, and others clean up: so a
 * second name for the same socket is kept beside it, from which the path is made again.
 *
 * A watch on the socket itself tells of each name that it gets or loses, and of nothing else. Where there is none (no inotify left), the path is looked at
 * whenever somebody asks for it, a reload ends or a worker does.
 */
import { chmodSync, type FSWatcher, linkSync, lstatSync, unlinkSync, watch } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { isStillOurs, type OwnedFile, rememberFile, removeIfOurs } from '../../owned-file.ts';

/** Where a path leads: to our socket, to something of somebody else's, nowhere. */
export type PathState = 'ours' | 'taken' | 'gone';

/** The path of a socket that we hold. */
export interface SocketPath {
  /** Both names. */
  readonly files: readonly OwnedFile[];
  /** Makes it lead to our socket if it leads nowhere. */
  look(): PathState;
  /** It leads to something of somebody else's just now. */
  readonly isTaken: boolean;
  /** Gives the socket these rights. */
  allow(mode: number): void;
  /** Removes what is still ours. */
  remove(): void;
}

/** `path` was just bound, or taken over. `tell` hears of each change. @throws the error of lstat(2) */
export function keepPath(path: string, tell: (state: PathState, isRestored: boolean) => void): SocketPath {
  const file = rememberFile(path);
  let spare = linkBeside(file);
  let state: PathState = 'ours';
  const become = (next: PathState, isRestored: boolean) => {
    if (next !== state || isRestored) tell(next, isRestored);
    state = next;
    return next;
  };
  const look = () => {
    if (isStillOurs(file)) {
      if (spare === null || !isStillOurs(spare)) spare = linkBeside(file);
      return become('ours', false);
    }
    if (isThere(path)) return become('taken', false);
    return spare !== null && isStillOurs(spare) && hasLinked(spare.path, path) ? become('ours', true) : become('gone', false);
  };
  const watcher = watchOver(path, look);
  return {
    get files() {
      return spare === null ? [file] : [file, spare];
    },
    get isTaken() {
      return !isStillOurs(file) && isThere(path);
    },
    look,
    allow(mode) {
      if (look() === 'ours') chmodSync(path, mode);
    },
    remove() {
      watcher?.close();
      if (spare !== null) removeIfOurs(spare);
      removeIfOurs(file);
    },
  };
}

/** A second name; null where there can be none, as on a file system without hard links. */
function linkBeside(file: OwnedFile): OwnedFile | null {
  const path = join(dirname(file.path), `.${basename(file.path)}.graceful-super`);
  const spare = { ...file, path };
  if (isStillOurs(spare)) return spare;
  removeLeftover(path);
  return hasLinked(file.path, path) ? spare : null;
}

/** Of a master that was killed with all its workers. */
function removeLeftover(path: string): void {
  const found = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  if (!found?.isSocket() || found.uid !== BigInt(process.geteuid?.() ?? -1)) return;
  try {
    unlinkSync(path);
  } catch {
    // EACCES: then there is no second name
  }
}

function isThere(path: string): boolean {
  return lstatSync(path, { bigint: true, throwIfNoEntry: false }) !== undefined;
}

function hasLinked(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch {
    return false; // EEXIST: somebody was faster; EPERM: no hard links here; ENOENT: the folder is gone
  }
}

function watchOver(path: string, look: () => void): FSWatcher | undefined {
  try {
    const watcher = watch(path, { persistent: false }, () => look());
    return watcher.on('error', () => watcher.close());
  } catch {
    return undefined; // EMFILE, ENOSPC: too many watches on this machine; EACCES: it may not be read
  }
}
