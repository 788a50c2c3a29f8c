import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exitCodes } from '../../src/errors.ts';
import { startDeployed } from '../helpers/releases.ts';
import { startMaster } from '../helpers/rig.ts';
import { startStorm } from '../helpers/storm.ts';

const KEPT = 20;
const env = { KEEP_ALIVE: '60000' };

test('rollback right after a reload brings the old release back, and again the new one: nobody notices', async () => {
  await using deployed = await startDeployed(['http-echo.cjs'], { env });
  const { rig, deploy, releaseOf } = deployed;
  const serving = async () => (await rig.pids()).map(releaseOf);
  const storm = startStorm({ port: rig.port(), keepAlive: KEPT, fresh: 0 });
  await storm.answered(KEPT);
  deploy('two', 'http-echo.cjs');
  assert.equal((await rig.command('reload')).code, 0);
  assert.deepEqual(await serving(), ['two']);
  assert.equal((await rig.status()).previous, 1);
  for (const [generation, release] of [
    [3, 'one'],
    [4, 'two'],
  ] as const) {
    await storm.answered(KEPT);
    const { code, stdout, stderr } = await rig.command('rollback');
    assert.equal(code, 0, stderr);
    assert.match(
      stdout,
      new RegExp(`^reload to generation ${generation} begins \\(control\\)\\n[\\s\\S]*\\nreloaded: generation ${generation} serves in place of `),
    );
    assert.deepEqual(await serving(), [release]);
  }
  await storm.answered(KEPT);
  const { failures, opened, resets } = await storm.stop();
  assert.deepEqual({ failures, opened, resets }, { failures: [], opened: KEPT, resets: 0 });
});

test('rollback to a release whose files are gone fails and says so; what serves goes on', async () => {
  await using deployed = await startDeployed(['http-echo.cjs']);
  const { rig, deploy, remove, releaseOf } = deployed;
  deploy('two', 'http-echo.cjs');
  assert.equal((await rig.command('reload')).code, 0);
  const pids = await rig.pids();
  remove('one');
  const { code, stderr } = await rig.command('rollback');
  assert.equal(code, exitCodes['release-gone']);
  assert.match(
    stderr,
    /^reload failed, rolled back: cannot go back to generation 1: .*\/one\/server\.mjs .* is no longer there \(deploy the old code again, and reload\); generation 2 goes on \(1 worker serving\)\n$/,
  );
  assert.deepEqual(await rig.pids(), pids);
  assert.deepEqual(pids.map(releaseOf), ['two']);
});

test('rollback of a reload under way ends it, and whatever waits behind it', async () => {
  await using deployed = await startDeployed(['http-echo.cjs'], { flags: ['--probation', '10m'] });
  const { rig, deploy, releaseOf } = deployed;
  deploy('two', 'http-echo.cjs');
  const reload = rig.command('reload');
  await rig.until('reload-probation');
  const queued = rig.command('reload');
  await rig.until('reload-queued');
  assert.equal((await rig.command('rollback')).code, 0);
  for (const { code, stderr } of [await reload, await queued]) {
    assert.equal(code, exitCodes['reload-failed']);
    assert.match(stderr, /^rolled back \(control\): generation 1 goes on \(1 worker serving\)\n$/);
  }
  assert.deepEqual((await rig.pids()).map(releaseOf), ['one']);
});

test('Where nothing was reloaded there is nothing to roll back, and nothing to promote', async () => {
  await using rig = await startMaster({ script: 'http-echo.cjs' });
  const rollback = await rig.command('rollback');
  assert.deepEqual([rollback.code, rollback.stderr], [exitCodes.refused, 'there is nothing to go back to: no reload has been committed (control)\n']);
  const promote = await rig.command('promote');
  assert.deepEqual([promote.code, promote.stderr], [exitCodes.refused, 'there is no canary to promote (control)\n']);
  for (const args of [
    ['reload', '--hold', '1s'],
    ['reload', '--canary', '0'],
    ['reload', '--canary', '1', '--hold', 'soon'],
  ])
    assert.equal((await rig.command(...args)).code, exitCodes.usage, args.join(' '));
  assert.equal((await rig.status()).generation, 1);
});
