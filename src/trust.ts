/**
 * Whose a path is. On a shared machine what is found may be somebody else's, made to be taken for ours: so its owner, its type and who may change it are
 * looked at before it is used.
 */
import { lstatSync, type Stats, statSync } from 'node:fs';
import { dirname } from 'node:path';

const WRITABLE_BY_ALL = 0o002;
const STICKY = 0o1000;

/** Why something is not used, in words that follow its name: `it belongs to another user (uid 7)`. */
export class Distrust extends Error {
  override readonly name = 'Distrust';
}

/** Users whose things are used: this one, and root, who can do everything anyway. */
export function trustedOwners(): readonly number[] {
  return [process.getuid?.() ?? 0, 0];
}

/** @throws Distrust */
export function checkOwner({ uid }: Stats, owners: readonly number[]): void {
  if (!owners.includes(uid)) throw new Distrust(`it belongs to another user (uid ${uid})`);
}

/**
 * A folder in which nobody but its owner can replace things. A link to one counts as whose it is: systemd makes such for dynamic users, as does anybody in /tmp.
 * `mayBeAnothers`: root was told to look there. @returns whose things in it are used @throws Distrust, or the error of lstat(2)
 */
export function checkFolder(path: string, mayBeAnothers = false): readonly number[] {
  const owners = trustedOwners();
  const entry = lstatSync(path);
  const folder = entry.isSymbolicLink() ? statSync(path) : entry;
  const isRootLooking = mayBeAnothers && owners.every((uid) => uid === 0);
  if (!isRootLooking) for (const stats of [entry, folder]) checkOwner(stats, owners);
  if (!folder.isDirectory()) throw new Distrust('it is no folder');
  if ((folder.mode & WRITABLE_BY_ALL) !== 0 && (folder.mode & STICKY) === 0) {
    throw new Distrust(`everybody may change what is in it (mode ${(folder.mode & 0o7777).toString(8)})`);
  }
  return isRootLooking ? [...owners, folder.uid] : owners;
}

/**
 * A file that is to be written to. In a folder where everybody may make files it must be ours, root's or the folder's owner's; elsewhere who can write to
 * the folder is trusted. @returns what is there; a link is for the caller to follow, or not @throws Distrust
 */
export function checkFile(path: string): Stats | undefined {
  const entry = lstatSync(path, { throwIfNoEntry: false });
  const folder = statSync(dirname(path), { throwIfNoEntry: false });
  if (entry !== undefined && folder !== undefined && (folder.mode & WRITABLE_BY_ALL) !== 0) checkOwner(entry, [...trustedOwners(), folder.uid]);
  return entry;
}
