/** New code proves itself before it serves: until its preflight has passed no client meets it. */
import assert from 'node:assert/strict';
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Rig, startMaster, temporaryFolder } from '../helpers/rig.ts';
import { startStorm } from '../helpers/storm.ts';
import { dial, makeCertificate } from '../helpers/wire.ts';

/** What the health page of new code answers, a line a time; the last one stays. */
function healthFile(folder: string): { readonly env: { readonly HEALTH: string }; say(...lines: string[]): void } {
  const file = join(folder, 'health');
  const say = (...lines: string[]) => {
    writeFileSync(`${file}.new`, lines.join('\n'));
    renameSync(`${file}.new`, file); // it may be read at any moment
  };
  return { env: { HEALTH: file }, say };
}

async function startHealthy(folder: string, flags: readonly string[] = [], { ownTerm = false } = {}) {
  const health = healthFile(folder);
  health.say('200');
  const rig = await startMaster({
    script: 'health-page.cjs',
    flags: ['--preflight', '/healthz', ...flags],
    env: { ...health.env, OWN_TERM: ownTerm ? '1' : '' },
  });
  return { rig, health };
}

/** So often the health page was asked, by all workers. */
function timesAsked(rig: Rig): number {
  return rig.stdout.split('\n').filter((line) => line.startsWith('asked ')).length;
}

test('New code whose health page fails never answers a client, and the reload says what it answered', async () => {
  using folder = temporaryFolder();
  const { rig, health } = await startHealthy(folder.path, ['--ready-timeout', '4s', '--workers', '2']);
  await using _ = rig;
  const oldPids = await rig.pids();
  health.say('500 out of disk');
  const storm = startStorm({ port: rig.port(), keepAlive: 6, fresh: 6 });
  await storm.answered(20);
  const { code, stdout, stderr } = await rig.command('reload');
  await storm.answered(50);
  const { failures, byPid } = await storm.stop();
  assert.equal(code, 41);
  assert.match(stdout, /worker \d \(pid \d+, generation 2\) is not healthy yet: its page \/healthz answered 500 "out of disk"/);
  assert.match(
    stderr,
    /rolled back: worker \d .*was not ready within 4 s \(--ready-timeout\): its page \/healthz answered 500 "out of disk"; generation 1 goes on/,
  );
  assert.deepEqual(failures, []);
  for (const pid of byPid.keys()) assert.ok(oldPids.includes(pid), 'only old workers answered');
  assert.deepEqual(await rig.pids(), oldPids);
  const { failure } = await rig.until('reload-finished', ({ outcome }) => outcome === 'rolled-back');
  assert.deepEqual(failure, { reason: 'preflight', timeoutMs: 4000, request: '/healthz', status: 500, body: 'out of disk' });
});

test('New code that takes its time to get healthy is waited for, and told of once', async () => {
  using folder = temporaryFolder();
  const { rig, health } = await startHealthy(folder.path);
  await using _ = rig;
  const [oldPid] = await rig.pids();
  health.say('503 warm 1', '503 warm 2', '503 warm 3', '200');
  const storm = startStorm({ port: rig.port(), keepAlive: 4, fresh: 4 });
  await storm.answered(20);
  const { outcome } = await rig.hup();
  await storm.answered(30);
  assert.equal(outcome, 'committed');
  assert.deepEqual((await storm.stop()).failures, []);
  assert.equal(rig.all('worker-preflight-failed').length, 1);
  assert.equal(timesAsked(rig), 1 + 4);
  assert.notDeepEqual(await rig.pids(), [oldPid]);
});

test('A first start whose preflight fails ends the master and says why; who connected was answered by nobody', async () => {
  using folder = temporaryFolder();
  const health = healthFile(folder.path);
  health.say('500 no schema');
  const flags = ['--preflight', '/healthz', '--ready-timeout', '4s'];
  await using rig = await startMaster({ script: 'health-page.cjs', flags, env: health.env, waitReady: false });
  await rig.until('worker-preflight-failed');
  using wire = await dial({ port: Number(/^asked \d+ graceful-super\/preflight (\d+)$/m.exec(rig.stdout)?.[1]), host: '127.0.0.1' });
  wire.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  const { code, stderr } = await rig.finished;
  await wire.end();
  assert.equal(wire.text, '');
  assert.equal(code, 40);
  assert.match(stderr, /start failed: worker 1 .*its page \/healthz answered 500 \\"no schema\\"/);
});

test('Until the first check of the program has passed who connects waits', async () => {
  using folder = temporaryFolder();
  const check = join(folder.path, 'check');
  writeFileSync(check, 'reject');
  await using rig = await startMaster({ script: 'proves-itself.mjs', env: { CHECK: check }, waitReady: false });
  await rig.until('worker-preflight-failed', ({ message }) => message.includes('its preflight(database) failed: Error: no database'));
  using wire = await dial({ port: Number(/listening \d+ (\d+)/.exec(rig.stdout)?.[1]), host: '127.0.0.1' });
  const times = rig.stdout.split('checked').length;
  await rig.waitFor(() => rig.stdout.split('checked').length > times + 1 || undefined, 'two more checks'); // by then it would be answered
  assert.equal(wire.text, '');
  writeFileSync(check, 'resolve');
  await rig.until('master-ready');
  await wire.until(/^pid \d+/);
});

test('A page that is asked may crash the program: the reload says so', async () => {
  using folder = temporaryFolder();
  const { rig, health } = await startHealthy(folder.path);
  await using _ = rig;
  health.say('crash');
  const { message } = await rig.hup();
  assert.match(message, /rolled back: worker 2 .*exited with code 7/);
});

test('A page that does not answer is given up after --preflight-timeout, and asked again', async () => {
  using folder = temporaryFolder();
  const { rig, health } = await startHealthy(folder.path, ['--preflight-timeout', '300ms']);
  await using _ = rig;
  health.say('hang', '200');
  const { outcome } = await rig.hup();
  assert.equal(outcome, 'committed');
  const [failed] = rig.all('worker-preflight-failed');
  assert.deepEqual(failed?.['failure'], { request: '/healthz', error: 'no answer within 0.3 s' });
});

test('Other statuses can be expected', async () => {
  using folder = temporaryFolder();
  const health = healthFile(folder.path);
  health.say('401');
  const flags = ['--preflight', '/healthz', '--preflight-status', '204', '--preflight-status', '400-403'];
  await using rig = await startMaster({ script: 'health-page.cjs', flags, env: health.env });
  health.say('200');
  await rig.until('master-ready');
  rig.signal('SIGHUP');
  await rig.until('worker-preflight-failed', ({ message }) => message.includes('answered 200'));
});

test('A stop waits for no preflight, also where the program ends by itself', async () => {
  using folder = temporaryFolder();
  const { rig, health } = await startHealthy(folder.path, ['--preflight-timeout', '50s'], { ownTerm: true });
  await using _ = rig;
  health.say('hang');
  rig.signal('SIGHUP');
  await rig.waitFor(() => timesAsked(rig) === 2 || undefined, 'the question');
  assert.equal((await rig.stop()).code, 0);
  assert.deepEqual(
    rig.all('worker-stopped').map(({ exit }) => exit),
    Array(2).fill({ reason: 'exit', code: 0 }),
  );
  for (const { closed, cut } of rig.all('worker-drained')) assert.deepEqual([closed, cut], [{}, {}], 'a probe is no connection');
});

test('A crashed worker is replaced by one that has proved itself', async () => {
  using folder = temporaryFolder();
  const { rig, health } = await startHealthy(folder.path, ['--workers', '2']);
  await using _ = rig;
  const [killed = 0, other] = await rig.pids();
  health.say('503');
  const storm = startStorm({ port: rig.port(), keepAlive: 2, fresh: 4 });
  process.kill(killed, 'SIGKILL');
  const { worker } = await rig.until('worker-preflight-failed');
  await storm.answered(30);
  const answered = [...storm.result.byPid.keys()];
  health.say('200');
  await rig.until('worker-serving', (event) => event['worker'] === worker);
  await storm.stop(); // requests on the killed worker's connections are lost
  for (const pid of answered) assert.ok([killed, other].includes(pid), 'the new worker answered nobody before');
});

test('Several pages: each must answer, of any server or of the one on its port', async () => {
  await using rig = await startMaster({ script: 'two-pages.cjs', flags: ['--preflight', '/a', '--preflight', '/b'] });
  const lines = () => rig.stdout.split('\n').filter(Boolean).sort();
  assert.deepEqual(lines(), ['/a got /a', '/a got /b', '/b got /a', '/b got /b']);
});

test('A page of the server on a port; where none listens the failure says so', async () => {
  using folder = temporaryFolder();
  const config = join(folder.path, 'config.json');
  writeFileSync(config, '{}');
  await using rig = await startMaster({ script: 'two-pages.cjs', flags: ['--config', config] });
  const [a, b] = [rig.port(0), rig.port(1)];
  writeFileSync(config, JSON.stringify({ preflight: [`:${a}/a`, `:${b}/b`] }));
  assert.equal((await rig.hup())['outcome'], 'committed');
  for (const [page, why] of [
    [`:${a}/b`, ' answered 404'],
    [':1/a', ' failed: no HTTP server listens on port 1'],
  ]) {
    writeFileSync(config, JSON.stringify({ preflight: [page], readyTimeout: '4s' }));
    assert.ok((await rig.hup()).message.includes(`its page ${page}${why}`));
  }
});

for (const [script, env] of [
  ['https-pid.cjs', ['KEY', 'CERT']],
  ['http2-pid.cjs', []],
  ['http2-pid.cjs', ['KEY', 'CERT']],
  ['express-pid.cjs', []],
  ['fastify-pid.mjs', []],
  ['answers-pid.mjs', []],
] as const) {
  test(`${script}${env.length > 0 ? ', encrypted' : ''}: its page passes, another one fails`, async () => {
    using folder = temporaryFolder();
    const config = join(folder.path, 'config.json');
    writeFileSync(config, '{ "preflight": "/" }');
    const { files } = makeCertificate(folder.path);
    const flags = ['--config', config];
    await using rig = await startMaster({ script, flags, env: env.length > 0 ? files : {} });
    assert.deepEqual(rig.all('worker-preflight-failed'), []);
    assert.equal((await rig.hup())['outcome'], 'committed');
    assert.deepEqual(
      (await rig.status()).workers.filter(({ phase }) => phase === 'serving').map(({ connections }) => connections),
      [0],
    );
    writeFileSync(config, '{ "preflight": "/", "preflightStatus": 299 }');
    rig.signal('SIGHUP');
    await rig.until('worker-preflight-failed', ({ message }) => message.includes('its page / answered 200'));
  });
}

test('Configured pages of a program without HTTP: the failure says so', async () => {
  await using rig = await startMaster({ script: 'tcp-echo.cjs', flags: ['--preflight', '/healthz', '--ready-timeout', '4s'], waitReady: false });
  const { code, stderr } = await rig.finished;
  assert.equal(code, 40);
  assert.match(stderr, /start failed: .*its page \/healthz failed: no HTTP server listens/);
});

for (const [title, flags, env] of [
  ['when it listens', [], {}],
  ['when ready() was called', ['--wait-ready'], { SAYS_READY: 'api' }],
  ['when process.send("ready") was called', ['--wait-ready'], { SAYS_READY: 'pm2' }],
] as const) {
  test(`A check of the program runs ${title}; the old code serves until it has passed`, async () => {
    using folder = temporaryFolder();
    const check = join(folder.path, 'check');
    writeFileSync(check, 'resolve');
    await using rig = await startMaster({ script: 'proves-itself.mjs', flags, env: { CHECK: check, ...env } });
    const first = await readAll(rig.port());
    writeFileSync(check, 'reject');
    rig.signal('SIGHUP');
    await rig.until('worker-preflight-failed');
    assert.equal(await readAll(rig.port()), first);
    writeFileSync(check, 'resolve');
    await rig.until('reload-finished', ({ generation, outcome }) => generation === 2 && outcome === 'committed');
    assert.notEqual(await readAll(rig.port()), first);
  });
}

test('A check that rejects, or hangs, until the ready timeout rolls back', async () => {
  using folder = temporaryFolder();
  const check = join(folder.path, 'check');
  writeFileSync(check, 'resolve');
  const flags = ['--ready-timeout', '4s', '--preflight-timeout', '500ms'];
  await using rig = await startMaster({ script: 'proves-itself.mjs', flags, env: { CHECK: check } });
  writeFileSync(check, 'reject');
  const rejected = await rig.hup();
  assert.match(rejected.message, /rolled back: .*was not ready within 4 s \(--ready-timeout\): its preflight\(database\) failed: Error: no database/);
  writeFileSync(check, 'hang');
  const hanging = await rig.hup();
  assert.match(hanging.message, /rolled back: .*its preflight\(database\) failed: it has not ended within 0\.5 s/);
  assert.equal(rig.stdout.split('hang').length - 1, 1, 'one that hangs is not called again');
});

test('With --wait-ready nothing is asked before ready() was called', async () => {
  using folder = temporaryFolder();
  const health = healthFile(folder.path);
  health.say('200');
  const flags = ['--wait-ready', '--preflight', '/healthz', '--ready-timeout', '4s'];
  await using rig = await startMaster({ script: 'health-page.cjs', flags, env: health.env, waitReady: false });
  await rig.until('worker-unfit');
  const { code, stderr } = await rig.finished;
  assert.equal(code, 40);
  assert.match(stderr, /it listens, but did not call ready\(\)/);
  assert.equal(timesAsked(rig), 0);
});

/** Code of the error; undefined: somebody listens. */
async function readAll(port: number): Promise<string> {
  using wire = await dial({ port, host: '127.0.0.1' });
  await wire.end();
  return wire.text;
}
