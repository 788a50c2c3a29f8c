/** The folder of a master's control socket. */
import { existsSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { GracefulError, systemCode } from '../../errors.ts';
import { checkFolder } from '../../trust.ts';

/** The first of these folders that is ours, or can be made. @throws GracefulError `control-folder-unwritable`, of the last one */
export function chooseRuntimeDir(folders: readonly string[]): string {
  let failure: unknown;
  for (const folder of folders) {
    try {
      makeRuntimeDir(folder);
      return folder;
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}

/** Makes it where it is missing. @throws GracefulError `control-folder-unwritable` */
export function makeRuntimeDir(folder: string): void {
  try {
    makeFolder(folder);
    checkFolder(folder); // in /tmp anybody could have made it before us
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
