/** Where a master of a name answers: `NAME.sock` is a link to the one entry of the folder `NAME.lock`, its control socket. Written by claim.ts, read by all. */
import { lstatSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { checkOwner, Distrust } from '../../trust.ts';

/** Paths that belong to a name. */
export function pathsOf(folder: string, name: string): { readonly lock: string; readonly link: string } {
  return { lock: join(folder, `${name}.lock`), link: join(folder, `${name}.sock`) };
}

/** The path of the control socket behind a name. @throws Distrust where it is none of a trusted owner, or the error of lstat(2) */
export function entryOf(folder: string, name: string, owners: readonly number[]): string {
  const { lock, link } = pathsOf(folder, name);
  checkLink(link, name, owners);
  const entry = join(folder, readlinkSync(link));
  checkOwner(lstatSync(lock), owners);
  checkSocket(entry, owners);
  return entry;
}

/** @throws Distrust where that is no link of a master of this name, or the error of lstat(2) */
export function checkLink(link: string, name: string, owners: readonly number[]): void {
  const stats = lstatSync(link);
  checkOwner(stats, owners);
  const [folder, entry, ...more] = stats.isSymbolicLink() ? readlinkSync(link).split('/') : [];
  if (folder !== `${name}.lock` || !entry || entry === '..' || more.length > 0) throw new Distrust('it is not what a master makes');
}

/** @throws Distrust where that is no socket of a trusted owner, or the error of lstat(2) */
export function checkSocket(path: string, owners: readonly number[]): void {
  const stats = lstatSync(path);
  checkOwner(stats, owners);
  if (!stats.isSocket()) throw new Distrust('it is no control socket');
}
