/**
 * How many workers can run at once. Node counts the cores that it may use, and since 22.10 (libuv 1.49) less where a cgroup's quota allows less; before, the quota of
 * a container or a unit (`CPUQuota=`) is not seen. So it is read here. @see cgroups(7), the kernel's cgroup-v2 "cpu.max", cgroup-v1 "cpu.cfs_quota_us"
 */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';

/** At least 1. */
export function countCores(): number {
  return Math.max(1, Math.min(availableParallelism(), Math.floor(cpuQuota())));
}

/** Cores' worth of time that this process's control groups allow; Infinity: there is no limit. `root` is where /proc and /sys are. */
export function cpuQuota(root = '/'): number {
  const memberships = read(root, 'proc/self/cgroup')?.trim().split('\n') ?? [];
  const limits = memberships.flatMap((line) => {
    const [, controllers = '', path = '/'] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (controllers === '') return upwards(path).map((group) => limitOf(read(root, join('sys/fs/cgroup', group, 'cpu.max'))));
    return controllers.split(',').includes('cpu') ? upwards(path).map((group) => oldLimitOf(root, join('sys/fs/cgroup/cpu', group))) : [];
  });
  return Math.min(Number.POSITIVE_INFINITY, ...limits);
}

/** A group is limited by its parents, too. */
function upwards(path: string): string[] {
  return path === '/' || path === '.' ? ['/'] : [path, ...upwards(dirname(path))];
}

/** `max 100000`, `150000 100000` */
function limitOf(text: string | undefined): number {
  const [quota, period] = text?.trim().split(' ') ?? [];
  return ratio(Number(quota), Number(period));
}

function oldLimitOf(root: string, group: string): number {
  return ratio(Number(read(root, join(group, 'cpu.cfs_quota_us'))), Number(read(root, join(group, 'cpu.cfs_period_us'))));
}

/** -1 and "max" are no limit. */
function ratio(quota: number, period: number): number {
  return quota > 0 && period > 0 ? quota / period : Number.POSITIVE_INFINITY;
}

function read(root: string, path: string): string | undefined {
  try {
    return readFileSync(join(root, path), 'utf8');
  } catch {
    return undefined; // ENOENT: no such controller, another system, no /proc
  }
}
