import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { asleep } from '../helpers/chaos.ts';
import { Crowd } from '../helpers/crowd.ts';
import { ask, fixture, type LoggedEvent, listensOn, poll, type Rig, residentMemory, startMaster, temporaryFolder } from '../helpers/rig.ts';
import { startStorm } from '../helpers/storm.ts';

const KEPT = 20;

const preload = (file: string) => ['--node-arg', '--require', '--node-arg', fixture(file)];
const pidsOf = (events: readonly LoggedEvent[]) => events.map(({ pid }) => pid as number);

/** Names of events about workers, in order, with the worker. */
function story(rig: Rig, names: readonly string[]): string[] {
  return rig.events.flatMap(({ event, worker, signal }) => (names.includes(event) ? [`${event} ${worker}${signal === undefined ? '' : ` ${signal}`}`] : []));
}

for (const [title, sicken] of [
  ['is busy for ever', (pid: number) => void process.kill(pid, 'SIGUSR2')],
  ['was stopped by SIGSTOP', (pid: number) => void process.kill(pid, 'SIGSTOP')],
] as const) {
  test(`A worker that ${title}: first its successor, then TERM, then KILL; clients of others see nothing`, async () => {
    const flags = ['--workers', '2', '--heartbeat-timeout', '2s', '--kill-timeout', '300ms', ...preload('blocks-on-signal.cjs')];
    await using rig = await startMaster({ script: 'counts-requests.mjs', flags });
    const [sick] = (await rig.pids()) as [number, number];
    using crowd = new Crowd(rig);
    await crowd.fill(2 * KEPT, ['http']);
    const others = crowd.clients.filter(({ pid }) => pid !== sick);
    for (const client of crowd.clients) if (!others.includes(client)) client.close();
    crowd.clients = others;
    crowd.talk();
    sicken(sick);
    await rig.until('worker-stopped', ({ pid }) => pid === sick);
    await crowd.talked(3);
    await crowd.rest();
    assert.deepEqual(crowd.mistakes, []);
    assert.ok(crowd.clients.every(({ isOpen }) => isOpen));
    const ailing = await rig.until('worker-ailing');
    assert.match(ailing.message, /will be replaced: its event loop has not turned for 2 s \(--heartbeat-timeout\)/);
    const { worker } = ailing;
    assert.deepEqual(story(rig, ['worker-ailing', 'worker-spawned', 'worker-serving', 'worker-draining', 'worker-overran', 'worker-stopped']).slice(4), [
      `worker-ailing ${worker}`,
      'worker-spawned 3',
      'worker-serving 3',
      `worker-draining ${worker}`,
      `worker-overran ${worker} SIGTERM`,
      `worker-overran ${worker} SIGKILL`,
      `worker-stopped ${worker}`,
    ]);
    assert.equal((await rig.pids()).length, 2);
    assert.equal((await ask(rig.url())).status, 200);
  });
}

test('A worker that comes to itself before it is killed hands its connections over: its clients have only waited', async () => {
  await using rig = await startMaster({ script: 'counts-requests.mjs', flags: ['--heartbeat-timeout', '1s', '--kill-timeout', '1m', '--no-blocked-stack'] });
  const [sick] = (await rig.pids()) as [number];
  using crowd = new Crowd(rig);
  await crowd.fill(KEPT, ['http']);
  using sleep = asleep(sick);
  const answers = crowd.askAll(); // it finds them when it wakes
  await rig.until('worker-draining');
  assert.equal(crowd.answers, KEPT);
  sleep.wake();
  await answers;
  await rig.until('worker-stopped', ({ pid }) => pid === sick);
  await crowd.askAll();
  assert.deepEqual(crowd.mistakes, []);
  const [successor] = await rig.pids();
  assert.ok(crowd.clients.every(({ isOpen, pid }) => isOpen && pid === successor));
  assert.deepEqual(rig.all('worker-overran'), []);
});

for (const [title, flag] of [
  ['A worker that hangs tells where, if that was asked for', '--blocked-stack'],
  ['A worker that hangs is not asked where', '--no-blocked-stack'],
] as const) {
  test(`${title}; nobody can connect to it to run code in it`, async () => {
    const flags = ['--heartbeat-timeout', '1s', '--kill-timeout', '1m', flag, ...preload('blocks-on-signal.cjs')];
    await using rig = await startMaster({ script: 'http-echo.cjs', flags, env: { NODE_OPTIONS: `--require=${fixture('tells-thread.cjs')}` } });
    const [sick] = (await rig.pids()) as [number]; // it was asked how it is, and so has its thread
    const before = listensOn(sick);
    process.kill(sick, 'SIGUSR2');
    if (flag === '--blocked-stack') await rig.until('worker-stack');
    await rig.until('worker-draining');
    const after = listensOn(sick);
    process.kill(sick, 'SIGKILL');
    const told = rig.all('worker-stack').map(({ stack }) => String(stack));
    assert.deepEqual([before, after, told.length], [1, 1, flag === '--blocked-stack' ? 1 : 0]);
    for (const stack of told) assert.match(stack, /at hangsHere \(.*blocks-on-signal\.cjs:\d+:\d+\)/);
    assert.doesNotMatch(rig.stdout, /thread [^0]/); // what the program loads is not loaded in ours
  });
}

test('The thread that can say where a worker hangs keeps no program alive', async () => {
  using folder = temporaryFolder();
  const script = join(folder.path, 'closes.cjs');
  writeFileSync(
    script,
    'const server = require("http").createServer((_request, response) => response.end("bye", () => server.close())).listen(0, "127.0.0.1");',
  );
  await using rig = await startMaster({ script, flags: ['--blocked-stack', '--restart', 'never'] });
  await rig.status(); // it was asked how it is, and so has its thread
  await ask(rig.url());
  assert.equal((await rig.finished).code, 0);
});

test('A worker that is being debugged is not judged by its heartbeat', async () => {
  const flags = (timeout: string) => ['--heartbeat-timeout', timeout, '--kill-timeout', '300ms'];
  await using debugged = await startMaster({ script: 'http-echo.cjs', flags: [...flags('300ms'), '--node-arg', '--inspect=127.0.0.1:0'] });
  await using plain = await startMaster({ script: 'http-echo.cjs', flags: flags('2s') }); // long after the other would have been blamed
  const [[waits], [hangs]] = (await Promise.all([debugged.pids(), plain.pids()])) as [[number], [number]];
  using breakpoint = asleep(waits);
  process.kill(hangs, 'SIGSTOP');
  await plain.until('worker-ailing');
  assert.deepEqual(debugged.all('worker-ailing'), []);
  breakpoint.wake();
  assert.deepEqual(await debugged.pids(), [waits]);
});

test('A worker that leaks is recycled, again and again: no request fails, nobody reconnects', async () => {
  const limit = 150 * 1024 ** 2;
  // memory is asked for as often as heartbeats are
  const flags = ['--max-memory', '150M', '--heartbeat-timeout', '3s', '--restart-window', '1ms', ...preload('leaks.cjs')];
  await using rig = await startMaster({ script: 'http-echo.cjs', flags, env: { KEEP_ALIVE: '60000' } });
  const storm = startStorm({ port: rig.port(), keepAlive: KEPT, fresh: 0 });
  const recycled = await rig.waitFor(() => (rig.all('worker-stopped').length >= 3 ? rig.all('worker-ailing') : undefined), 'three that are recycled');
  for (const { message, ailment } of recycled) {
    assert.match(message, /will be replaced: it uses \d+ MiB of memory, more than 150 MiB \(--max-memory\)/);
    assert.ok((ailment as { rssBytes: number }).rssBytes > limit);
  }
  await storm.answered(KEPT);
  const { failures, opened, resets, byPid } = await storm.stop();
  assert.deepEqual({ failures, opened, resets }, { failures: [], opened: KEPT, resets: 0 });
  assert.ok(pidsOf(recycled).every((pid) => byPid.has(pid)));
  assert.equal((await rig.status()).isCrashLooping, false);
});

test('A limit that every new worker exceeds has them replaced ever more rarely, and is named', async () => {
  const flags = ['--max-memory', '1M', '--heartbeat-timeout', '1s', '--restart-limit', '2', '--backoff-min', '10ms', '--backoff-max', '24h'];
  await using rig = await startMaster({ script: 'http-echo.cjs', flags });
  await rig.until('crash-loop');
  await poll(
    async () => existsSync(`/proc/${(await rig.pids())[0]}`) && residentMemory((await rig.pids())[0] as number) > 1024 ** 2,
    () => 'no worker serves that is too big',
  );
  const [first, second] = rig.all('restart-scheduled').map(({ delayMs }) => delayMs as number);
  assert.ok((second as number) > (first as number));
  assert.equal((await rig.status()).isCrashLooping, true);
  assert.equal((await ask(rig.url())).status, 200, 'who is too big serves on');
});

test('Workers that are too old are replaced one at a time, and as many as wanted always serve', async () => {
  const workers = 3;
  await using rig = await startMaster({ script: 'http-echo.cjs', flags: ['--workers', String(workers), '--max-age', '1s'], env: { KEEP_ALIVE: '60000' } });
  const storm = startStorm({ port: rig.port(), keepAlive: KEPT, fresh: 0 });
  const ended = () => pidsOf(rig.all('worker-stopped'));
  await rig.waitFor(() => ended().length >= 2 * workers || undefined, 'everybody twice');
  await storm.answered(KEPT);
  const { failures, opened, resets } = await storm.stop();
  assert.deepEqual({ failures, opened, resets }, { failures: [], opened: KEPT, resets: 0 });
  assert.match(rig.all('worker-ailing')[0]?.message ?? '', /will be replaced: it has served for .* \(--max-age\)/);
  let [serving, replaced, isBegun] = [0, 0, false];
  for (const { event } of rig.events) {
    if (event === 'worker-serving') serving++;
    if (event === 'worker-draining') serving--;
    if (event === 'worker-ailing') replaced++;
    if (event === 'worker-stopped') replaced--;
    isBegun ||= serving === workers;
    assert.ok(!isBegun || serving >= workers, `${serving} serve`);
    assert.ok(replaced <= 1, `${replaced} are replaced at once`);
  }
});

test('A worker that is too big or too old waits until a reload is over', async () => {
  await using rig = await startMaster({ script: 'http-echo.cjs', flags: ['--max-age', '1s', '--probation', '10m'] });
  rig.signal('SIGHUP');
  await rig.until('reload-probation');
  await poll(
    async () => (await rig.status()).workers.every(({ uptimeMs }) => uptimeMs > 1_500),
    () => 'time stands still',
  );
  assert.deepEqual(rig.all('worker-ailing'), []);
});
