/** What a master needs of its control folder is made again when it is removed: by what cleans /tmp, by a logout, by mistake. */
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readdirSync, renameSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { exitCodes } from '../../src/errors.ts';
import { Crowd } from '../helpers/crowd.ts';
import { cli, descriptors, fixture, poll, startMaster, temporaryFolder } from '../helpers/rig.ts';

for (const [what, remove] of [
  ['The folder', (folder: string) => rmSync(folder, { recursive: true })],
  ['The control socket', (folder: string) => unlinkSync(join(folder, 'rig.lock', readdirSync(join(folder, 'rig.lock'))[0] as string))],
  ['The link to the control socket', (folder: string) => unlinkSync(join(folder, 'rig.sock'))],
  ['The folder, moved away,', (folder: string) => renameSync(folder, `${folder}.old`)],
] as const) {
  test(`${what} is made again: commands find the master, no second one takes its name, connections move`, async () => {
    using parent = temporaryFolder();
    const runtimeDir = join(parent.path, 'run');
    mkdirSync(runtimeDir);
    await using rig = await startMaster({ script: 'counts-requests.mjs', runtimeDir });
    using crowd = new Crowd(rig);
    await crowd.fill(4, ['http', 'tcp']);
    await poll(
      () => descriptors(rig.pid).includes('anon_inode:inotify'),
      () => 'it is not watched',
    );
    for (let time = 0; time < 2; time++) {
      rig.forget();
      remove(runtimeDir);
      rmSync(`${runtimeDir}.old`, { recursive: true, force: true });
      assert.match((await rig.until('control-socket-renewed')).message, /was removed, and is made again: .*\/run\/rig\.sock$/);
    }
    const [status, reload, second] = [await rig.command('status'), await rig.command('reload'), await cli(startAgain(runtimeDir))];
    assert.deepEqual([status.code, reload.code, second.code], [0, 0, exitCodes['already-running']]);
    await crowd.askAll();
    assert.deepEqual(crowd.mistakes, []);
    assert.ok(crowd.clients.every(({ isOpen }) => isOpen));
    rig.signal('SIGKILL'); // the workers know what is to be removed now
    await rig.finished;
    await poll(
      () => readdirSync(runtimeDir).length === 0,
      () => readdirSync(runtimeDir).join(),
    );
  });
}

test('A folder that can not be made again is said once; it is when it can, and signals reach the master until then', async () => {
  using parent = temporaryFolder();
  const runtimeDir = join(parent.path, 'run');
  await using rig = await startMaster({ script: 'http-echo.cjs', runtimeDir });
  rmSync(runtimeDir, { recursive: true });
  writeFileSync(runtimeDir, 'in the way');
  rig.signal('SIGHUP'); // a reason to look
  assert.match((await rig.until('control-socket-lost')).message, /only signals reach this master: cannot use the control folder .*: it is no folder/);
  assert.equal((await rig.hup())['outcome'], 'committed');
  unlinkSync(runtimeDir);
  await rig.until('control-socket-renewed');
  assert.equal(rig.events.filter(({ event }) => event === 'control-socket-lost').length, 1);
  assert.equal((await rig.command('status')).code, 0);
});

test('Nothing of a name is left in a folder that everybody may change by now', async () => {
  using parent = temporaryFolder();
  const runtimeDir = join(parent.path, 'run');
  mkdirSync(runtimeDir);
  await using rig = await startMaster({ script: 'http-echo.cjs', runtimeDir });
  chmodSync(runtimeDir, 0o777);
  unlinkSync(join(runtimeDir, 'rig.sock'));
  rig.signal('SIGUSR2');
  assert.match((await rig.until('control-socket-lost')).message, /everybody may change what is in it/);
  assert.deepEqual(
    readdirSync(runtimeDir).filter((entry) => entry.startsWith('rig')),
    [],
  );
});

function startAgain(runtimeDir: string): string[] {
  return ['start', fixture('http-echo.cjs'), '--name', 'rig', '--runtime-dir', runtimeDir];
}
