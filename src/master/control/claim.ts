/**
 * A name belongs to one living master. `NAME.lock` is a folder with one entry, the owner's control socket; whoever can
 * rename his own folder onto it owns the name, and rename(2) lets only one do so, because it refuses a folder that is not
 * empty. The entry of a dead owner refuses connections (the kernel knows) and is removed by its unique name, so nobody can
 * remove a living one by mistake. `NAME.sock` is a link to the entry.
 */
import { chmodSync, mkdirSync, readdirSync, renameSync, rmdirSync, rmSync, symlinkSync, unlinkSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { GracefulError, isGracefulError, systemCode } from '../../errors.ts';
import { type OwnedFile, rememberFile, removeIfOurs } from '../../owned-file.ts';
import { isAnswered } from '../../unix-socket.ts';
import { unwritable } from './runtime-dir.ts';

const PATH_LIMIT = 103; // sun_path: 108 bytes on Linux, 104 on macOS, with the NUL

/** A name that is ours. */
export interface Claim {
  /** Listens on the control socket; has no request listener yet. */
  readonly server: Server;
  readonly socketPath: string;
  /** What is to be removed in the end, in this order. */
  readonly files: readonly OwnedFile[];
}

/** Takes a name. `folder` is there. @throws GracefulError `already-running`, `control-folder-unwritable` */
export async function claimName(folder: string, name: string): Promise<Claim> {
  const id = `${process.pid.toString(36)}.${Date.now().toString(36)}`;
  const own = join(folder, `.${id}`);
  const lock = join(folder, `${name}.lock`);
  const link = join(folder, `${name}.sock`);
  if (Buffer.byteLength(join(lock, id)) > PATH_LIMIT) {
    throw new GracefulError('control-folder-unwritable', `the path of the control socket is too long: ${join(lock, id)}`, {
      hint: 'pass a shorter --name or --runtime-dir',
    });
  }
  const server = createServer();
  try {
    mkdirSync(own, { mode: 0o700 });
    await listen(server, join(own, id));
    chmodSync(join(own, id), 0o600);
    await takeLock(own, lock, name);
    symlinkSync(join(`${name}.lock`, id), join(folder, `.${id}`));
    renameSync(join(folder, `.${id}`), link);
    return { server, socketPath: link, files: [link, join(lock, id), lock].map(rememberFile) };
  } catch (error) {
    server.close();
    rmSync(own, { recursive: true, force: true });
    throw isGracefulError(error) ? error : unwritable(folder, error);
  }
}

/** Gives the name back. */
export function releaseClaim(claim: Claim): void {
  claim.server.close();
  claim.server.closeAllConnections();
  for (const file of claim.files) removeIfOurs(file);
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ path }, () => {
      server.on('error', () => {}); // EMFILE at an accept: who asked hears nothing, the master goes on
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
    for (const entry of entriesOf(lock)) {
      if (await isAnswered(join(lock, entry))) {
        throw new GracefulError('already-running', `a master named "${name}" is already running`, {
          hint: 'graceful-super reload reloads it; another one needs its own --name',
        });
      }
      removeEntry(join(lock, entry));
    }
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
    if (systemCode(error) === 'EISDIR' || systemCode(error) === 'EPERM') return rmdirSync(path);
    if (systemCode(error) !== 'ENOENT') throw error; // another contender was faster
  }
}
