/** Places where something is missing that is there on most machines. Each is made in a mount namespace of the master's own. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { dialHttp, visit } from '../helpers/http.ts';
import { ask, type RigOptions, startMaster } from '../helpers/rig.ts';

const canUnshare = spawnSync('unshare', ['--mount', 'true']).status === 0;
const skip = canUnshare ? false : 'needs the right to make a mount namespace';

/** A shell that does this to its own view of the machine, and becomes the master. */
function within(script: string): Pick<RigOptions, 'launcher'> {
  return { launcher: ['unshare', '--mount', '--propagation', 'private', 'sh', '-ec', `${script}; exec "$@"`, 'sh'] };
}

const places: Readonly<Record<string, (folder: string) => Pick<RigOptions, 'launcher'>>> = {
  'without HOME, USER, PATH and TMPDIR': () => ({
    launcher: ['/usr/bin/env', ...['HOME', 'USER', 'LOGNAME', 'SHELL', 'PATH', 'TMPDIR', 'XDG_RUNTIME_DIR'].flatMap((name) => ['-u', name])],
  }),
  'without /proc': () => within('mount -t tmpfs none /proc'),
  'without a shell': () => within('mount --bind /dev/null /bin/sh'),
  'where only the control folder can be written to': (folder) =>
    within(
      `mount --bind ${folder} ${folder}; mount -o remount,bind,ro /; for place in /tmp /run /dev/shm; do test ! -w $place || mount -t tmpfs -o ro none $place; done`,
    ),
};

/** Not in /tmp, which is made read-only. */
function controlFolder(): { readonly path: string; [Symbol.dispose](): void } {
  const path = mkdtempSync('/var/tmp/gs-bare-');
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) };
}

describe('what a master promises holds', () => {
  for (const [name, place] of Object.entries(places)) {
    test(name, { skip }, async () => {
      using folder = controlFolder();
      await using rig = await startMaster({ script: 'http-echo.cjs', env: { KEEP_ALIVE: '60000' }, runtimeDir: folder.path, ...place(folder.path) });
      using wire = await dialHttp(rig);
      const before = await visit(wire);
      assert.equal((await rig.hup())['outcome'], 'committed');
      assert.notEqual(await visit(wire), before, 'the same connection is served by the new worker');
      rig.forget();
      process.kill((await rig.pids())[0] as number, 'SIGKILL');
      await rig.until('worker-serving');
      assert.equal((await rig.command('status', '--json')).code, 0);
      assert.deepEqual(rig.all('internal-error'), []);
    });
  }
});

test('A Unix socket has the rights that the umask leaves where there is no /proc, too', { skip }, async () => {
  using folder = controlFolder();
  const [path, runtimeDir] = [join(folder.path, 'web.sock'), join(folder.path, 'run')];
  const place = within('mount -t tmpfs none /proc; umask 007');
  await using rig = await startMaster({ script: 'answers-on-path.cjs', args: [path], runtimeDir, ...place });
  assert.equal(statSync(path).mode & 0o777, 0o770);
  assert.deepEqual(await rig.pids(), [Number((await ask('http://localhost', { socketPath: path })).text)]);
});
