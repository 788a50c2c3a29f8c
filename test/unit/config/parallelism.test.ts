import assert from 'node:assert/strict';
import { test } from 'node:test';
import { countCores, cpuQuota } from '../../../src/config/parallelism.ts';
import { makeFolder } from '../helpers/folder.ts';

const V2 = 'proc/self/cgroup';

test('The quota of a control group is seen, and that of the groups around it', () => {
  using folder = makeFolder();
  folder.write(V2, '0::/system.slice/app.service\n');
  folder.write('sys/fs/cgroup/system.slice/app.service/cpu.max', 'max 100000\n');
  assert.equal(cpuQuota(folder.path), Number.POSITIVE_INFINITY);
  folder.write('sys/fs/cgroup/system.slice/cpu.max', '350000 100000\n');
  assert.equal(cpuQuota(folder.path), 3.5);
  folder.write('sys/fs/cgroup/system.slice/app.service/cpu.max', '50000 100000\n');
  assert.equal(cpuQuota(folder.path), 0.5);
});

test('In a container the own group is the root', () => {
  using folder = makeFolder();
  folder.write(V2, '0::/\n');
  folder.write('sys/fs/cgroup/cpu.max', '200000 100000\n');
  assert.equal(cpuQuota(folder.path), 2);
});

test('The older kind of control groups is seen, too', () => {
  using folder = makeFolder();
  folder.write(V2, '5:memory:/x\n4:cpu,cpuacct:/docker/abc\n0::/\n');
  folder.write('sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us', '150000\n');
  folder.write('sys/fs/cgroup/cpu/docker/abc/cpu.cfs_period_us', '100000\n');
  folder.write('sys/fs/cgroup/cpu/cpu.cfs_quota_us', '-1\n');
  folder.write('sys/fs/cgroup/cpu/cpu.cfs_period_us', '100000\n');
  assert.equal(cpuQuota(folder.path), 1.5);
});

test('Where nothing says so there is no quota, and there is always one core', () => {
  using folder = makeFolder();
  assert.equal(cpuQuota(folder.path), Number.POSITIVE_INFINITY);
  folder.write(V2, 'nonsense\n');
  assert.equal(cpuQuota(folder.path), Number.POSITIVE_INFINITY);
  assert.ok(countCores() >= 1);
});
