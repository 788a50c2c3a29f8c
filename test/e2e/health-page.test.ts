import assert from 'node:assert/strict';
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { cli, poll, startMaster, temporaryFolder } from '../helpers/rig.ts';
import { startStorm } from '../helpers/storm.ts';

/** From now on the page answers so; whoever reads it meanwhile finds one or the other. */
function answer(page: string, text: string): void {
  writeFileSync(`${page}.draft`, text);
  renameSync(`${page}.draft`, page);
}

test('A worker whose page fails several times in a row is replaced, and no client notices', async () => {
  using folder = temporaryFolder();
  const page = join(folder.path, 'page');
  answer(page, '200 fine');
  const flags = ['--health', '/healthz', '--health-interval', '100ms', '--health-failures', '2'];
  await using rig = await startMaster({ script: 'health-page.cjs', env: { HEALTH: page }, flags });
  const [sick] = await rig.pids();
  const storm = startStorm({ port: rig.port(), keepAlive: 10, fresh: 2 });
  await storm.answered(50);
  answer(page, '500 out of disk');
  const ailing = await rig.until('worker-ailing', ({ pid }) => pid === sick);
  answer(page, '200 fine');
  assert.match(ailing.message, /will be replaced: its page \/healthz answered 500 "out of disk"/);
  assert.deepEqual(
    rig.all('worker-check-failed').map(({ strikes }) => strikes),
    [1, 2],
  );
  await rig.until('worker-stopped', ({ pid }) => pid === sick);
  await storm.answered(50);
  const { failures } = await storm.stop();
  assert.deepEqual(failures, []);
  assert.notEqual((await rig.pids())[0], sick);
});

test('A page that recovers in time begins to count anew, and nobody is replaced', async () => {
  using folder = temporaryFolder();
  const page = join(folder.path, 'page');
  answer(page, '503 not yet\n200 fine\n503 not yet\n200 fine');
  const flags = ['--health', '/healthz', '--health-interval', '100ms', '--health-failures', '2'];
  await using rig = await startMaster({ script: 'health-page.cjs', env: { HEALTH: page }, flags });
  await poll(
    () => rig.all('worker-check-failed').length === 2,
    () => 'two checks should have failed',
  );
  assert.deepEqual(
    rig.all('worker-check-failed').map(({ strikes }) => strikes),
    [1, 1],
  );
  assert.deepEqual(rig.all('worker-ailing'), []);
});

test('One failed check in the probation rolls back', async () => {
  using folder = temporaryFolder();
  const page = join(folder.path, 'page');
  answer(page, '200 fine');
  const flags = ['--health', '/healthz', '--health-interval', '100ms', '--health-failures', '1000', '--probation', '1h'];
  await using rig = await startMaster({ script: 'health-page.cjs', env: { HEALTH: page }, flags });
  const [old] = await rig.pids();
  const reload = cli(['reload', rig.name, '--runtime-dir', rig.runtimeDir]);
  await rig.until('reload-probation');
  answer(page, '500 out of disk');
  const { code, stderr } = await reload;
  assert.equal(code, 41);
  assert.match(stderr, /rolled back: worker 2 .*its page \/healthz answered 500 "out of disk"; generation 1 goes on/);
  answer(page, '200 fine');
  await rig.until('worker-stopped');
  assert.deepEqual(await rig.pids(), [old]);
});

test('A check that takes longer than the probation is waited for', async () => {
  using folder = temporaryFolder();
  const page = join(folder.path, 'page');
  answer(page, '200 fine');
  const flags = ['--health', '/healthz', '--health-failures', '1000', '--health-timeout', '1s', '--probation', '1ms'];
  await using rig = await startMaster({ script: 'health-page.cjs', env: { HEALTH: page }, flags });
  const [old] = await rig.pids();
  answer(page, 'hang');
  const { code, stderr } = await cli(['reload', rig.name, '--runtime-dir', rig.runtimeDir]);
  assert.equal(code, 41);
  assert.match(stderr, /rolled back: worker 2 .*its page \/healthz failed: no answer within 1 s/);
  answer(page, '200 fine');
  assert.equal((await cli(['reload', rig.name, '--runtime-dir', rig.runtimeDir])).code, 0);
  await rig.until('generation-gone');
  assert.ok(!(await rig.pids()).includes(old ?? 0));
});
