/**
 * A program may bind what only root may, and drop its rights then: its workers are bounded to what they could have by themselves from the time that they are
 * ready, for from then on they deal with clients. The kernel says whose a process is, not the worker.
 */
import { readFileSync } from 'node:fs';
import type { ListenQuery } from '../../protocol/worker.ts';

/** Below it only root may bind (ip_unprivileged_port_start, as it is unless somebody changes it). */
const FIRST_FREE_PORT = 1024;

/** This master has rights that a worker without them could abuse. */
const isRoot: boolean = process.getuid?.() === 0;

/** True if a process of a root master no longer is root's, or if that can't be told (no /proc). */
export function hasDroppedRoot(pid: number | undefined): boolean {
  if (!isRoot || pid === undefined) return false;
  try {
    const [, effective] = /^Uid:\s+\d+\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1')) ?? [];
    return effective !== '0';
  } catch {
    return true; // ENOENT
  }
}

/** True if nobody needs rights for it: any free port, a port above the low ones, a name that is no file. */
export function isForAll({ address, port, addressType }: Pick<ListenQuery, 'address' | 'port' | 'addressType'>): boolean {
  return addressType === -1 ? address?.startsWith('\0') === true : port === 0 || port >= FIRST_FREE_PORT;
}
