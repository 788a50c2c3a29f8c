/** The pid file: complete from its first moment on, there only while the master is ready. */
import { renameSync, writeFileSync } from 'node:fs';
import { GracefulError } from '../errors.ts';
import { type OwnedFile, rememberFile } from '../owned-file.ts';

/** Writes the master's pid. @throws GracefulError `pid-file-unwritable` */
export function writePidFile(path: string): OwnedFile {
  const draft = `${path}.${process.pid}`;
  try {
    writeFileSync(draft, `${process.pid}\n`, { mode: 0o644 });
    renameSync(draft, path);
    return rememberFile(path);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new GracefulError('pid-file-unwritable', `cannot write pid file ${path}: ${reason}`, { hint: 'pass another --pid-file', cause });
  }
}
