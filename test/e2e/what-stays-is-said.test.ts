/** A connection that was to move and could not is said to have stayed, and why. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Crowd } from '../helpers/crowd.ts';
import { ask, poll, startMaster, temporaryFolder } from '../helpers/rig.ts';

const KEPT = 12;
/** A place of one page for tickets, that only this master sees. */
const LAUNCHER = ['unshare', '--mount', 'sh', '-c', 'mount -t tmpfs -o size=4k tmpfs /dev/shm && exec "$0" "$@"'];
const canMount = spawnSync(LAUNCHER[0] as string, [...LAUNCHER.slice(1), 'true']).status === 0;

test('Connections that could not move are counted by reason in the answer to reload and in the log; they move when they can', {
  skip: canMount ? false : 'no right to mount a small disk',
}, async () => {
  await using rig = await startMaster({ script: 'counts-requests.mjs', launcher: LAUNCHER, flags: ['--idle-grace', '1m', '--drain-timeout', '1m'] });
  using crowd = new Crowd(rig);
  await crowd.fill(KEPT, ['http']);
  await crowd.askAll();
  const full = `/proc/${rig.pid}/root/dev/shm/full`;
  writeFileSync(full, Buffer.alloc(4096));
  const { code, stdout } = await rig.command('reload');
  const why = /12 connections that could not move: no ticket could be written \(ENOSPC: no space left on device, write\)/;
  const answer = stdout.trim().split('\n');
  assert.equal(code, 0);
  assert.match(answer.at(-1) as string, why);
  assert.match(answer.find((line) => line.includes(' keeps ')) as string, why);
  assert.match((await rig.until('worker-kept')).message, why);
  assert.equal(Object.values((await rig.until('reload-finished', ({ previous }) => previous === 1))['stayed'] as object)[0], KEPT);
  unlinkSync(full);
  await poll(
    async () => (await rig.status()).workers.length === 1,
    () => 'they stay',
  );
  await crowd.askAll();
  assert.deepEqual(crowd.mistakes, []);
  assert.ok(crowd.clients.every(({ isOpen }) => isOpen));
});

test('Where no file can be made any more, a new worker gets no connections, which is said; it serves new ones, and they stay where they are', {
  skip: canMount ? false : 'no right to mount a small disk',
}, async () => {
  using folder = temporaryFolder();
  const runtimeDir = join(folder.path, 'run');
  const script = 'mount -t tmpfs -o nr_inodes=20 tmpfs "$1" && mount --bind "$1" /dev/shm && shift && exec "$@"';
  const launcher = ['unshare', '--mount', 'sh', '-c', script, 'sh', folder.path];
  await using rig = await startMaster({ script: 'counts-requests.mjs', launcher, runtimeDir, env: { TMPDIR: folder.path }, flags: ['--idle-grace', '1m'] });
  using crowd = new Crowd(rig);
  await crowd.fill(KEPT, ['http']);
  await crowd.askAll();
  const old = crowd.clients[0]?.pid;
  const seen = `/proc/${rig.pid}/root${folder.path}`;
  const fill = (count: number): number => {
    try {
      writeFileSync(join(seen, `full-${count}`), '');
      return fill(count + 1);
    } catch {
      return count; // ENOSPC
    }
  };
  assert.ok(fill(0) > 0);
  rig.forget();
  assert.equal((await rig.hup())['outcome'], 'committed');
  assert.match((await rig.until('worker-note')).message, /can't be given connections at a reload: ENOSPC/);
  await crowd.askAll();
  assert.deepEqual(crowd.mistakes, []);
  assert.ok(crowd.clients.every(({ pid }) => pid === old));
  assert.equal((await ask(rig.url())).status, 200);
});
