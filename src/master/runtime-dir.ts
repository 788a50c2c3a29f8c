/** The folder of a master's control socket and of what has no name. */
import { mkdirSync, statSync } from 'node:fs';
import { GracefulError } from '../errors.ts';

/** Makes it where it is missing. @throws GracefulError `control-folder-unwritable` */
export function makeRuntimeDir(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const { uid } = statSync(folder); // in /tmp anybody could have made it before us
    if (uid !== 0 && uid !== process.getuid?.()) throw new Error(`it belongs to another user (uid ${uid})`);
  } catch (error) {
    throw unwritable(folder, error);
  }
}

/** The error for a folder in which something can't be made. */
export function unwritable(folder: string, error: unknown): GracefulError {
  const reason = error instanceof Error ? error.message : String(error);
  return new GracefulError('control-folder-unwritable', `cannot use the control folder ${folder}: ${reason}`, {
    hint: 'pass --runtime-dir with a folder of yours',
    cause: error,
  });
}
