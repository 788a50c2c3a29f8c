/** What of its surroundings can be taken from a master on this machine; where not, the reason. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from '../rig.ts';
import { findClock } from './clock.ts';

export interface Abilities {
  /** A disk that can be filled. */
  readonly disk: boolean;
  /** Makes the master another user, whom a limit of processes binds; empty: the user of this process is one already. */
  readonly become: readonly string[];
  readonly limits: boolean;
  readonly processLimit: boolean;
  /** A log reader that can be stopped. */
  readonly reader: boolean;
  /** The library that shows another time of day to a process. */
  readonly clock: string | undefined;
  readonly reasons: readonly string[];
}

const isRoot = process.getuid?.() === 0;
const nobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];

/** Tries everything out. */
export function findAbilities(): Abilities {
  const disk = isRoot && canMount();
  const limits = succeeds(['prlimit', '--version']);
  const become = isRoot && succeeds([...nobody, process.execPath, join(root, 'bin/graceful-super.js'), '--version']) ? nobody : [];
  const processLimit = limits && (!isRoot || become.length > 0);
  const reader = succeeds(['bash', '--version']) && existsSync(`/proc/self/task/${process.pid}/children`);
  const clock = findClock();
  return {
    disk,
    become,
    limits,
    processLimit,
    reader,
    clock,
    reasons: [
      ...(disk ? [] : ['no full disk: only root can mount a small one']),
      ...(limits ? [] : ['no limits: there is no prlimit(1)']),
      ...(processLimit ? [] : ['no limit of processes: it does not bind root, and the master can be nobody else here']),
      ...(reader ? [] : ['no stalled reader of the log: there is no bash(1)']),
      ...(clock === undefined ? ['no clock that jumps: there is no libfaketime'] : []),
    ],
  };
}

function canMount(): boolean {
  const folder = mkdtempSync(join(tmpdir(), 'gs-mount-'));
  const isMounted = succeeds(['mount', '-t', 'tmpfs', '-o', 'size=16k', 'tmpfs', folder]);
  if (isMounted) spawnSync('umount', [folder]);
  rmSync(folder, { recursive: true });
  return isMounted;
}

function succeeds([command = '', ...args]: readonly string[]): boolean {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0;
}
