/** The pid file: complete from its first moment on, there only while the master is ready. */
import { accessSync, constants, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { GracefulError } from '../errors.ts';
import { type OwnedFile, rememberFile } from '../owned-file.ts';

/** Finds out before the start what could not be written after it. @throws GracefulError `pid-file-unwritable` */
export function checkPidFile(path: string): void {
  try {
    accessSync(dirname(path), constants.W_OK | constants.X_OK);
  } catch (cause) {
    throw unwritable(path, cause);
  }
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) throw unwritable(path, new Error('it is a directory'));
}

/** Writes the master's pid. @throws GracefulError `pid-file-unwritable` */
export function writePidFile(path: string): OwnedFile {
  const draft = `${path}.${process.pid}`;
  try {
    writeFileSync(draft, `${process.pid}\n`, { mode: 0o644 });
    renameSync(draft, path);
    return rememberFile(path);
  } catch (cause) {
    rmSync(draft, { force: true }); // ENOSPC leaves it there, empty
    throw unwritable(path, cause);
  }
}

function unwritable(path: string, cause: unknown): GracefulError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new GracefulError('pid-file-unwritable', `cannot write pid file ${path}: ${reason}`, { hint: 'pass another --pid-file', cause });
}
