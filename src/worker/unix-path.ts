/** Paths of Unix sockets as a program asks for them. */
import { closeSync, lstatSync, openSync, readSync } from 'node:fs';
import { resolve, sep } from 'node:path';

/** The longest that a socket address can hold. @see unix(7) */
const LONGEST = 108;
const STATUS_BYTES = 512;

/**
 * True for the path of a pipe that a tool makes for itself and its children, as tsx, Nitro and test runners do: it has the number of this process in it, or
 * lies in a folder of `mkdtemp` that is younger than the process. The next start will have another one, so nobody reaches the service there.
 */
export function isPrivatePath(path: string): boolean {
  if (new RegExp(`(?<!\\d)${process.pid}(?!\\d)`).test(path)) return true;
  const temporary = resolve(process.env['TMPDIR'] ?? '/tmp') + sep;
  if (!path.startsWith(temporary)) return false;
  const [folder = '', ...inside] = path.slice(temporary.length).split(sep);
  return inside.length > 0 && /(?=.{0,5}[A-Z0-9])[A-Za-z0-9]{6}$/.test(folder) && isYoung(temporary + folder);
}

/** A path that no socket address can hold once it is absolute; what becomes of it is Node's own affair. */
export function isTooLong(path: string): boolean {
  return Buffer.byteLength(path) > LONGEST;
}

/** Who asks by `process.umask()` sets it for a moment, for all threads. */
export function umask(): number {
  try {
    const fd = openSync('/proc/self/status', 'r');
    const buffer = Buffer.alloc(STATUS_BYTES);
    const text = buffer.toString('latin1', 0, readSync(fd, buffer));
    closeSync(fd);
    const [, found] = /^Umask:\s*([0-7]+)/m.exec(text) ?? [];
    if (found !== undefined) return Number.parseInt(found, 8);
  } catch {
    // ENOENT: no /proc, as on macOS; EMFILE: the program has no descriptor left
  }
  return process.umask();
}

function isYoung(folder: string): boolean {
  const found = lstatSync(folder, { bigint: true, throwIfNoEntry: false });
  return found !== undefined && Number(found.birthtimeMs) > Date.now() - process.uptime() * 1000;
}
