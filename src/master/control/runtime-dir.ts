/** The folder of a master's control socket and of what has no name. */
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { GracefulError, systemCode } from '../../errors.ts';

/** Makes it where it is missing. @throws GracefulError `control-folder-unwritable` */
export function makeRuntimeDir(folder: string): void {
  try {
    makeFolder(folder);
    const stats = statSync(folder);
    if (!stats.isDirectory()) throw new Error('it is no folder');
    const { uid } = stats; // in /tmp anybody could have made it before us
    if (uid !== 0 && uid !== process.getuid?.()) throw new Error(`it belongs to another user (uid ${uid})`);
  } catch (error) {
    throw unwritable(folder, error);
  }
}

/** Not by `recursive`: where nothing can be made, such as in /proc, Node then tries for ever (tried on 20, 22, 24, 26). */
function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return;
    if (systemCode(error) !== 'ENOENT' || existsSync(dirname(folder))) throw error;
    makeFolder(dirname(folder));
    mkdirSync(folder, { mode: 0o700 });
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
