/**
 * The file that workers, and their threads, load our runtime from: a copy that the master makes for itself. The package may be replaced under it, or be
 * removed with the release that it was installed in, while workers go on being started; and a copy that vanishes is made again, for its bytes are kept.
 */
import { chmodSync, existsSync, lstatSync, readdirSync, readFileSync, renameSync, rmSync, type Stats, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { GracefulError, systemCode } from '../../errors.ts';
import { isStillOurs, type OwnedFile, rememberFile, removeIfOurs } from '../../owned-file.ts';
import { checkFolder } from '../../trust.ts';

const PACKAGED = fileURLToPath(new URL('../worker/preload.cjs', import.meta.url));
/** Folder that a root master prefers. */
const RUN = '/run';
const WRITABLE_BY_OTHERS = 0o022;
const STICKY = 0o1000;
const NAME = /^graceful-super-worker-(\d+)\.cjs(\.new)?$/;

/** Where workers find the runtime. */
export interface RuntimeFile {
  /** A file that is there now. @throws GracefulError `start-failed` */
  path(): string;
  /** Makes it again if it vanished. */
  mend(): void;
  /** What is to be removed in the end. */
  readonly files: readonly OwnedFile[];
  /** Removes it. */
  close(): void;
}

/** Reads the runtime; what is copied later is what it was now. `own` is a folder that is private to us. */
export function keepRuntime(own: string): RuntimeFile {
  const bytes = readFileSync(PACKAGED);
  const folders = isRootsAlone(RUN) ? [RUN, own] : [own];
  let copy: OwnedFile | undefined;
  const mend = () => {
    if (copy === undefined || !isStillOurs(copy)) copy = writeCopy(folders, bytes);
  };
  for (const folder of folders) removeLeftOver(folder);
  return {
    get files() {
      return copy === undefined ? [] : [copy];
    },
    mend,
    path() {
      mend();
      return copy?.path ?? packaged(folders);
    },
    close() {
      if (copy !== undefined) removeIfOurs(copy);
    },
  };
}

/** Root's own folder is closed to a worker that drops root, and its threads read the file after that; to /run nobody else can write. */
function isRootsAlone(folder: string): boolean {
  const stats = statSync(folder, { throwIfNoEntry: false });
  return process.getuid?.() === 0 && stats?.uid === 0 && !isShared(stats);
}

/** Others could replace what we write there, and workers would run it. */
function isShared({ mode }: Stats): boolean {
  return (mode & WRITABLE_BY_OTHERS) !== 0 && (mode & STICKY) === 0;
}

/** In the first folder that takes it: one may be read-only, full, or by now somebody else's. */
function writeCopy(folders: readonly string[], bytes: Buffer): OwnedFile | undefined {
  for (const folder of folders) {
    try {
      checkFolder(folder);
      if (!isShared(statSync(folder))) return writeInto(folder, bytes);
    } catch {
      // Distrust, ENOSPC, EROFS, ENOENT: the next one, or the package itself
    }
  }
  return undefined;
}

function writeInto(folder: string, bytes: Buffer): OwnedFile {
  const path = join(folder, `graceful-super-worker-${process.pid}.cjs`);
  const draft = `${path}.new`;
  rmSync(draft, { force: true }); // of a master that was killed, and had this pid
  try {
    writeFileSync(draft, bytes, { flag: 'wx' });
    chmodSync(draft, 0o644); // whatever the umask is: it is no secret
    renameSync(draft, path);
  } catch (error) {
    rmSync(draft, { force: true });
    throw error;
  }
  return rememberFile(path);
}

/** Better than no worker, while it is there. */
function packaged(folders: readonly string[]): string {
  if (existsSync(PACKAGED)) return PACKAGED;
  throw new GracefulError('start-failed', `the runtime of workers can't be written to ${folders.join(' or ')}, and ${PACKAGED} is gone`, {
    hint: 'make room there, or start the master anew',
  });
}

/** Of masters that were killed together with all their workers. */
function removeLeftOver(folder: string): void {
  for (const entry of readdirSync(folder)) {
    const [, pid] = NAME.exec(entry) ?? [];
    if (pid !== undefined && !isRunning(Number(pid))) removeIfOwn(join(folder, entry));
  }
}

function removeIfOwn(path: string): void {
  try {
    if (lstatSync(path).uid === process.getuid?.()) rmSync(path);
  } catch {
    // ENOENT: another master was faster; EROFS, EACCES: it stays
  }
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return systemCode(error) !== 'ESRCH';
  }
}
