/**
 * A name belongs to one living master. `NAME.lock` is a folder with one entry, the owner's control socket; whoever can
 * rename his own folder onto it owns the name, and rename(2) lets only one do so, because it refuses a folder that is not
 * empty. The entry of a dead owner refuses connections (the kernel knows) and is removed by its unique name, so nobody can
 * remove a living one by mistake. `NAME.sock` is a link to the entry. What is there and is not a master's is left alone.
 */
import { chmodSync, mkdirSync, readdirSync, renameSync, rmSync, symlinkSync, unlinkSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { GracefulError, isGracefulError, systemCode } from '../../errors.ts';
import { isStillOurs, type OwnedFile, rememberFile, removeIfOurs } from '../../owned-file.ts';
import { Distrust, trustedOwners } from '../../trust.ts';
import { isAnswered } from '../../unix-socket.ts';
import { checkLink, checkSocket, pathsOf } from './entry.ts';
import { makeRuntimeDir, unwritable } from './runtime-dir.ts';

const PATH_LIMIT = 103; // sun_path: 108 bytes on Linux, 104 on macOS, with the NUL

/** A name that is ours. */
export interface Claim {
  readonly name: string;
  readonly folder: string;
  /** Listens on the control socket; has no request listener yet. */
  readonly server: Server;
  readonly socketPath: string;
  /** What is to be removed in the end, in this order. */
  readonly files: readonly OwnedFile[];
}

/** Takes a name. `folder` is there. @throws GracefulError `already-running`, `control-folder-unwritable` */
export function claimName(folder: string, name: string): Promise<Claim> {
  return claimFor(createServer(), folder, name);
}

/** True while all of it is where it was made. */
export function isWhole({ files }: Claim): boolean {
  return files.length > 0 && files.every(isStillOurs);
}

/** Takes the name anew, by the same rules and with the same server, after something of it was removed. @throws as `claimName`; then nothing of it is left */
export async function renewClaim({ server, files, folder, name }: Claim): Promise<Claim> {
  if (server.listening) server.close(); // who is connected stays so
  for (const file of files) removeIfOurs(file);
  makeRuntimeDir(folder);
  return claimFor(server, folder, name);
}

/** Gives the name back. */
export function releaseClaim(claim: Claim): void {
  claim.server.close();
  claim.server.closeAllConnections();
  for (const file of claim.files) removeIfOurs(file);
}

async function claimFor(server: Server, folder: string, name: string): Promise<Claim> {
  const id = `${process.pid.toString(36)}.${Date.now().toString(36)}`;
  const own = join(folder, `.${id}`);
  const { lock, link } = pathsOf(folder, name);
  if (Buffer.byteLength(join(lock, id)) > PATH_LIMIT) {
    throw new GracefulError('control-folder-unwritable', `the path of the control socket is too long: ${join(lock, id)}`, {
      hint: 'pass a shorter --name or --runtime-dir',
    });
  }
  try {
    mkdirSync(own, { mode: 0o700 });
    await listen(server, join(own, id));
    chmodSync(join(own, id), 0o600);
    checkIfThere(link, () => checkLink(link, name, trustedOwners()));
    await takeLock(own, lock, name);
    symlinkSync(join(`${name}.lock`, id), join(folder, `.${id}`));
    renameSync(join(folder, `.${id}`), link);
    return { name, folder, server, socketPath: link, files: [link, join(lock, id), lock].map(rememberFile) };
  } catch (error) {
    server.close();
    rmSync(own, { recursive: true, force: true });
    throw isGracefulError(error) ? error : unwritable(folder, error);
  }
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ path }, () => {
      server.off('error', reject);
      if (server.listenerCount('error') === 0) server.on('error', () => {}); // EMFILE at an accept: who asked hears nothing, the master goes on
      resolve();
    });
  });
}

async function takeLock(own: string, lock: string, name: string): Promise<void> {
  for (;;) {
    try {
      return renameSync(own, lock);
    } catch (error) {
      if (!['ENOTEMPTY', 'EEXIST'].includes(systemCode(error) ?? '')) throw error;
    }
    const entries = entriesOf(lock).map((entry) => join(lock, entry));
    for (const entry of entries) checkIfThere(entry, () => checkSocket(entry, trustedOwners()));
    for (const entry of entries) {
      if (await isAnswered(entry)) {
        throw new GracefulError('already-running', `a master named "${name}" is already running`, {
          hint: 'graceful-super reload reloads it; another one needs its own --name',
        });
      }
      removeEntry(entry);
    }
  }
}

/** What is not a master's is neither replaced nor removed. */
function checkIfThere(path: string, check: () => void): void {
  try {
    check();
  } catch (error) {
    if (error instanceof Distrust) throw new Distrust(`${path} is in the way: ${error.message}`);
    if (systemCode(error) !== 'ENOENT') throw error; // another contender was faster
  }
}

function entriesOf(lock: string): string[] {
  try {
    return readdirSync(lock);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return []; // its owner has just gone
    throw error;
  }
}

function removeEntry(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error; // another contender was faster
  }
}
