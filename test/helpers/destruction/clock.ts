/**
 * Another time of day for a master, by libfaketime; its monotonic clock is left alone. Its workers must not load the library:
 * one that is killed at the wrong moment leaves a lock of it behind, at which all others wait for ever.
 */
import { existsSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Clock extends Disposable {
  /** For the environment of the master. */
  readonly env: Readonly<Record<string, string>>;
  /** Of masters: what the library keeps for them is removed in the end. */
  readonly pids: number[];
  /** As faketime(1) takes it, such as `+10d`; `+0`: the right time. */
  set(shift: string): void;
}

/** For the environment of workers. */
export const unclocked: Readonly<Record<string, string>> = { LD_PRELOAD: '' };

/** Where the library is; undefined: not on this machine. */
export function findClock(): string | undefined {
  const named = process.env['FAKETIME_LIBRARY'];
  if (named !== undefined) return named;
  const places = ['/usr/lib', ...(existsSync('/usr/lib') ? readdirSync('/usr/lib').map((entry) => join('/usr/lib', entry)) : [])];
  return places.map((place) => join(place, 'faketime/libfaketimeMT.so.1')).find((path) => existsSync(path));
}

/** A clock that can be set while processes look at it. `path`: a file that they can read. */
export function showClock(path: string, library: string): Clock {
  const pids: number[] = [];
  const set = (shift: string) => {
    writeFileSync(`${path}.new`, `${shift}\n`);
    renameSync(`${path}.new`, path);
  };
  set('+0');
  return {
    env: { LD_PRELOAD: library, FAKETIME_TIMESTAMP_FILE: path, FAKETIME_NO_CACHE: '1', FAKETIME_DONT_FAKE_MONOTONIC: '1' },
    pids,
    set,
    [Symbol.dispose]() {
      for (const file of pids.flatMap((pid) => [`sem.faketime_sem_${pid}`, `faketime_shm_${pid}`])) rmSync(join('/dev/shm', file), { force: true });
    },
  };
}
