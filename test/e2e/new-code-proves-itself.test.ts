import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exitCodes } from '../../src/errors.ts';
import { type Deployed, startDeployed } from '../helpers/releases.ts';
import { type LoggedEvent, type Rig, startMaster } from '../helpers/rig.ts';
import { type Storm, type StormResult, startStorm, stormsOn } from '../helpers/storm.ts';

const KEPT = 20;
const env = { KEEP_ALIVE: '60000' };

/** Clients that keep their connections, and those that open one a request. */
function storms(rig: Rig): { readonly kept: Storm; readonly fresh: Storm } {
  const port = rig.port();
  return { kept: startStorm({ port, keepAlive: KEPT, fresh: 0 }), fresh: startStorm({ port, keepAlive: 0, fresh: 4 }) };
}

function assertUnnoticed(result: StormResult, opened = KEPT): void {
  assert.deepEqual(result.failures, []);
  assert.deepEqual({ opened: result.opened, resets: result.resets }, { opened, resets: 0 });
}

/** Clients go on until this worker has answered some of them. */
async function untilAnswers(storm: Storm, pid: number): Promise<void> {
  while (!storm.result.byPid.has(pid)) await storm.answered(1);
}

/** The release `two` is on probation beside the old one. @returns its worker */
async function probation({ rig, deploy }: Deployed, ...files: readonly string[]): Promise<number> {
  const old = await rig.pids();
  deploy('two', ...files);
  rig.forget();
  rig.signal('SIGHUP');
  await rig.until('reload-probation');
  const young = (await rig.pids()).filter((pid) => !old.includes(pid));
  assert.equal(young.length, 1);
  return young[0] as number;
}

/** The release `two` has one worker beside the old ones. */
async function canary({ rig, deploy }: Deployed, flags: readonly string[], ...files: readonly string[]) {
  const old = await rig.pids();
  deploy('two', ...files);
  rig.forget();
  const reload = rig.command('reload', '--canary', '1', ...flags);
  await rig.until('reload-holding');
  const pids = await rig.pids();
  assert.equal(pids.length, old.length + 1);
  return { old, reload, pid: pids.find((pid) => !old.includes(pid)) as number };
}

async function rolledBack({ rig, releaseOf }: Deployed, why: RegExp, workers: number): Promise<LoggedEvent> {
  const outcome = await rig.until('reload-finished');
  assert.equal(outcome['outcome'], 'rolled-back');
  assert.match(outcome.message, why);
  const pids = await rig.pids();
  assert.equal(pids.length, workers);
  assert.ok(pids.every((pid) => releaseOf(pid) === 'one'));
  return outcome;
}

test('The probation lasts a second where nothing else is configured', async () => {
  await using rig = await startMaster({ script: 'http-echo.cjs', env: { GRACEFUL_SUPER_PROBATION: undefined } });
  const { outcome } = await rig.hup();
  assert.equal(outcome, 'committed');
  assert.equal((await rig.until('reload-probation'))['probationMs'], 1000);
});

test('Code that crashes in its probation is rolled back: clients of the old code lose nothing', async () => {
  await using deployed = await startDeployed(['http-echo.cjs'], { flags: ['--probation', '10m'], env });
  const { rig } = deployed;
  const [oldPid] = await rig.pids();
  const storm = startStorm({ port: rig.port(), keepAlive: KEPT, fresh: 0 });
  await storm.answered(KEPT);
  const young = await probation(deployed, 'throws-on-signal.cjs', 'http-echo.cjs');
  await storm.answered(KEPT);
  process.kill(young, 'SIGUSR2');
  await rolledBack(deployed, /exited with code 1: Error: sick; generation 1 goes on \(1 worker serving\)/, 1);
  await storm.answered(KEPT);
  const result = await storm.stop();
  assertUnnoticed(result);
  assert.deepEqual([...result.byPid.keys()], [oldPid]);
});

test('Code whose event loop stands still in its probation is rolled back, and ended by force', async () => {
  const flags = ['--probation', '10m', '--heartbeat-timeout', '2s', '--kill-timeout', '300ms'];
  await using deployed = await startDeployed(['http-echo.cjs'], { flags, env });
  const { rig } = deployed;
  const storm = startStorm({ port: rig.port(), keepAlive: KEPT, fresh: 0 });
  await storm.answered(KEPT);
  const young = await probation(deployed, 'blocks-on-signal.cjs', 'http-echo.cjs');
  process.kill(young, 'SIGUSR2');
  await rolledBack(deployed, /its event loop has not turned for 2 s \(--heartbeat-timeout\); generation 1 goes on/, 1);
  await rig.until('worker-stopped', ({ pid }) => pid === young);
  assert.deepEqual(
    rig.all('worker-overran').map(({ signal, pid }) => [signal, pid]),
    [
      ['SIGTERM', young],
      ['SIGKILL', young],
    ],
  );
  await storm.answered(KEPT);
  assertUnnoticed(await storm.stop());
});

test('A canary serves beside the old code until it is promoted', async () => {
  await using deployed = await startDeployed(['http-echo.cjs'], { flags: ['--workers', '2'], env });
  const { rig, releaseOf } = deployed;
  const { kept, fresh } = storms(rig);
  await kept.answered(KEPT);
  const { reload, pid } = await canary(deployed, ['--hold', '10m'], 'http-echo.cjs');
  assert.match((await rig.command('status')).stdout, /^generation +1, 0 restarts; generation 2 is a canary, promoted in \d+ min$/m);
  await untilAnswers(fresh, pid);
  const promoted = await rig.command('promote');
  assert.equal(promoted.code, 0, promoted.stderr);
  assert.match(promoted.stdout, /generation 2 is promoted \(control\)[\s\S]*reloaded: generation 2 serves in place of 1 .*\n$/);
  const { code, stdout } = await reload;
  assert.equal(code, 0);
  assert.match(stdout, /canary: 1 worker of generation 2 serves beside the old ones for 10 min/);
  const pids = await rig.pids();
  assert.equal(pids.length, 2);
  assert.ok(pids.includes(pid) && pids.every((one) => releaseOf(one) === 'two'));
  await kept.answered(KEPT);
  assertUnnoticed(await kept.stop());
  assert.deepEqual((await fresh.stop()).failures, []);
});

test('A canary that is rolled back gives its connections back: no request fails, nobody reconnects', async () => {
  await using deployed = await startDeployed(['http-echo.cjs'], { flags: ['--workers', '2'], env });
  const { rig } = deployed;
  const old = startStorm({ port: rig.port(), keepAlive: KEPT, fresh: 0 });
  await old.answered(KEPT);
  const { reload, pid, old: oldPids } = await canary(deployed, [], 'http-echo.cjs');
  const { code, stdout } = await reload; // without an end of the hold nobody waits for it
  assert.equal(code, 0);
  assert.match(stdout, /\ncanary: .* until it is promoted or rolled back\n$/);
  const fresh = startStorm({ port: rig.port(), keepAlive: 0, fresh: 4 });
  const young = await stormsOn(rig.port(), KEPT, (byPid) => byPid.has(pid));
  await untilAnswers(fresh, pid);
  const waiting = rig.command('reload');
  assert.match((await rig.until('reload-queued')).message, /^another reload follows when the canary is promoted \(control\)$/);
  const back = await rig.command('rollback');
  assert.equal(back.code, 0, back.stderr);
  assert.equal((await waiting).code, exitCodes['reload-failed']);
  await rolledBack(deployed, /^rolled back \(control\): generation 1 goes on \(2 workers serving\)$/, 2);
  await rig.until('worker-stopped', (event) => event['pid'] === pid);
  const drained = await rig.until('worker-drained', (event) => event['pid'] === pid);
  assert.ok((drained['moved'] as Record<string, number>)['http'], drained.message);
  const answers = young.map(({ result }) => result.byPid.get(pid));
  for (const storm of young) {
    await storm.answered(2 * KEPT);
    assertUnnoticed(await storm.stop());
  }
  assertUnnoticed(await old.stop());
  assert.deepEqual((await fresh.stop()).failures, []);
  const later = young.map(({ result }) => result.byPid.get(pid));
  assert.deepEqual(later, answers, 'nobody is with the canary any more');
  assert.deepEqual(await rig.pids(), oldPids);
});

test('A canary that crashes is rolled back by itself, and the command fails', async () => {
  await using deployed = await startDeployed(['http-echo.cjs'], { env });
  const { rig } = deployed;
  const storm = startStorm({ port: rig.port(), keepAlive: KEPT, fresh: 0 });
  await storm.answered(KEPT);
  const { reload, pid } = await canary(deployed, ['--hold', '10m'], 'throws-on-signal.cjs', 'http-echo.cjs');
  process.kill(pid, 'SIGUSR2');
  const { code, stderr } = await reload;
  assert.equal(code, exitCodes['reload-failed']);
  assert.match(stderr, /^reload failed, rolled back: worker 2 .*exited with code 1: Error: sick; generation 1 goes on \(1 worker serving\)\n/);
  await rolledBack(deployed, /Error: sick/, 1);
  await storm.answered(KEPT);
  assertUnnoticed(await storm.stop());
  const again = await rig.command('rollback');
  assert.equal(again.code, exitCodes.refused);
  assert.match(again.stderr, /the code before it serves: there is nothing to roll back/);
});

test('When the hold of a canary is over, the rest follows by itself', async () => {
  await using deployed = await startDeployed(['http-echo.cjs'], { flags: ['--workers', '2'], env });
  const { rig, releaseOf } = deployed;
  const storm = startStorm({ port: rig.port(), keepAlive: KEPT, fresh: 0 });
  await storm.answered(KEPT);
  const { reload } = await canary(deployed, ['--hold', '1s'], 'http-echo.cjs');
  const { code, stdout } = await reload;
  assert.equal(code, 0);
  assert.match(stdout, /generation 2 is promoted \(its hold is over\)/);
  assert.deepEqual((await rig.pids()).map(releaseOf), ['two', 'two']);
  await storm.answered(KEPT);
  assertUnnoticed(await storm.stop());
  assert.equal((await rig.command('reload', '--canary', '5', '--hold', '0s')).code, 0, 'more than there are is all of them');
  assert.equal((await rig.pids()).length, 2);
  const promoted = await rig.command('promote');
  assert.equal(promoted.code, exitCodes.refused);
  assert.match(promoted.stderr, /^there is no canary to promote/);
});

test('A stop during the hold of a canary ends both generations, and the command fails', async () => {
  await using deployed = await startDeployed(['http-echo.cjs'], { env });
  const { rig } = deployed;
  const storm = startStorm({ port: rig.port(), keepAlive: 0, fresh: 4 });
  const { reload, pid } = await canary(deployed, ['--hold', '10m'], 'http-echo.cjs');
  await untilAnswers(storm, pid);
  await storm.stop();
  const { code } = await rig.stop();
  assert.equal(code, 0);
  await rig.gone();
  const result = await reload;
  assert.equal(result.code, exitCodes['reload-failed']);
  assert.match(result.stderr, /^reload abandoned: the master is stopping\n$/);
});
