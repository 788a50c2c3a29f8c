import assert from 'node:assert/strict';
import { copyFileSync, readFileSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { asleep } from '../helpers/chaos.ts';
import { ask, fixture, type LoggedEvent, poll, type Rig, type RigOptions, startMaster, temporaryFolder } from '../helpers/rig.ts';
import { startStorm } from '../helpers/storm.ts';

/** A release that can be swapped: a folder behind a symlink, as deploy tools make it. */
function deployment(folder: string): { readonly script: string; deploy(file: string): void } {
  const script = join(folder, 'current.cjs');
  return {
    script,
    deploy(file) {
      const draft = join(folder, 'draft');
      symlinkSync(file, draft);
      renameSync(draft, script);
    },
  };
}

async function startDeployed(folder: string, options: Partial<RigOptions> = {}) {
  const release = deployment(folder);
  release.deploy(fixture('http-echo.cjs'));
  const rig = await startMaster({ script: release.script, ...options });
  return { rig, release };
}

/** Reloads into new code that fails, under traffic, and proves that nobody but the old workers ever answered. */
async function rollsBack(rig: Rig, why: RegExp): Promise<LoggedEvent> {
  const oldPids = await rig.pids();
  const storm = startStorm({ port: rig.port(), keepAlive: 4, fresh: 4 });
  const outcome = await rig.hup();
  assert.equal(outcome['outcome'], 'rolled-back');
  assert.match(outcome.message, why);
  await storm.answered(30);
  const { failures, byPid } = await storm.stop();
  assert.deepEqual(failures, []);
  for (const pid of byPid.keys()) assert.ok(oldPids.includes(pid), 'only old workers answered');
  assert.deepEqual(await rig.pids(), oldPids);
  return outcome;
}

const broken: readonly { readonly title: string; readonly file: string; readonly why: RegExp; readonly stack?: RegExp; readonly flags?: readonly string[] }[] =
  [
    {
      title: 'a syntax error',
      file: 'broken/syntax-error.cjs',
      why: /worker 2 \(pid \d+\) exited with code 1: SyntaxError.*generation 1 goes on \(1 worker serving\)/,
      stack: /syntax-error\.cjs:1/,
    },
    { title: 'a throw at start', file: 'throws-at-start.cjs', why: /exited with code 1: Error: no database/, stack: /throws-at-start\.cjs:1:7/ },
    { title: 'exit 0 before it is ready', file: 'exits-before-ready.cjs', why: /exited with code 0 without being asked to/ },
    {
      title: 'code that never gets ready',
      file: 'never-ready.cjs',
      why: /was not ready within 1 s \(--ready-timeout\): it does not listen yet/,
      flags: ['--ready-timeout', '1s'],
    },
  ];

for (const { title, file, why, stack, flags = [] } of broken) {
  test(`Rolled back: ${title}; the old generation goes on untouched`, async () => {
    using folder = temporaryFolder();
    const { rig, release } = await startDeployed(folder.path, { flags });
    await using _ = rig;
    release.deploy(fixture(file));
    const outcome = await rollsBack(rig, why);
    if (stack) assert.match(String(outcome['stack']), stack);
    const { code, stderr } = await rig.command('reload');
    assert.equal(code, 41);
    assert.match(stderr, why.source.includes('worker 2') ? /SyntaxError/ : why);
    if (stack) assert.match(stderr, stack);
    release.deploy(fixture('http-echo.cjs'));
    assert.equal((await rig.command('reload')).code, 0, 'mended code is taken');
  });
}

test('Rolled back: the script is missing', async () => {
  using folder = temporaryFolder();
  const { rig, release } = await startDeployed(folder.path);
  await using _ = rig;
  unlinkSync(release.script);
  await rollsBack(rig, /cannot start .*current\.cjs: no such file/);
});

test('Rolled back: the configuration is bad', async () => {
  using folder = temporaryFolder();
  const config = join(folder.path, 'config.json');
  writeFileSync(config, JSON.stringify({ drainTimeout: '10s' }));
  await using rig = await startMaster({ script: 'http-echo.cjs', flags: ['--config', config] });
  writeFileSync(config, JSON.stringify({ drainTimeout: 'soon', worker: 2 }));
  const outcome = await rollsBack(rig, /2 mistakes/);
  assert.match(outcome.message, /drainTimeout in .*config\.json: expected a time such as .*, got "soon"/);
  assert.match(outcome.message, /worker in .*config\.json: no such option/);
});

test('Rolled back: one of several new workers crashes', async () => {
  using folder = temporaryFolder();
  const { rig, release } = await startDeployed(folder.path, { flags: ['--workers', '3', '--surge', '1'], env: { MARK: join(folder.path, 'mark') } });
  await using _ = rig;
  release.deploy(fixture('second-worker-crashes.cjs'));
  await rollsBack(rig, /exited with code 7; generation 1 goes on \(3 workers serving\)/);
});

test('Rolled back: new code crashes in its probation, and its clients lose nothing', async () => {
  using folder = temporaryFolder();
  const { rig, release } = await startDeployed(folder.path, { flags: ['--probation', '20s'] });
  await using _ = rig;
  const [oldPid] = await rig.pids();
  writeFileSync(
    join(folder.path, 'doomed.cjs'),
    `process.on('SIGUSR2', () => { throw new Error('sick'); });\nrequire(${JSON.stringify(fixture('http-echo.cjs'))});\n`,
  );
  release.deploy(join(folder.path, 'doomed.cjs'));
  rig.forget();
  rig.signal('SIGHUP');
  await rig.until('reload-probation');
  const newPid = (await rig.pids()).find((pid) => pid !== oldPid) as number;
  process.kill(newPid, 'SIGUSR2');
  const { outcome, message } = await rig.until('reload-finished');
  assert.equal(outcome, 'rolled-back');
  assert.match(message, /exited with code 1: Error: sick; generation 1 goes on/);
  assert.deepEqual(await rig.pids(), [oldPid]);
  assert.equal((await ask(rig.url())).status, 200);
});

test('A new worker that is ready accepts nothing while another one is not, even if nobody else can', async () => {
  using folder = temporaryFolder();
  const mark = join(folder.path, 'mark');
  const { rig, release } = await startDeployed(folder.path, { flags: ['--workers', '2', '--surge', '1'], env: { MARK: mark } });
  await using _ = rig;
  const oldPids = await rig.pids();
  release.deploy(fixture('second-worker-waits.cjs'));
  rig.signal('SIGHUP');
  await rig.until('worker-ready', ({ generation }) => generation === 2);
  await rig.waitFor(() => (rig.stdout.includes('waiting') ? true : undefined), 'the other new worker');
  const sleeps = oldPids.map((pid) => asleep(pid));
  const answered = Promise.all(Array.from({ length: 10 }, () => ask(rig.url())));
  await poll(
    () => queueLength(rig.port()) === 10,
    () => 'the connections are not in the queue of the listener',
  );
  for (const sleep of sleeps) sleep.wake();
  for (const { text } of await answered) assert.ok(oldPids.includes((JSON.parse(text) as { pid: number }).pid), 'an old worker answers');
  writeFileSync(`${mark}-gate`, '');
  assert.equal((await rig.until('reload-finished', ({ generation }) => generation === 2))['outcome'], 'committed');
});

test('With several workers the whole new generation is ready before any of it accepts', async () => {
  await using rig = await startMaster({ script: 'http-echo.cjs', flags: ['--workers', '3', '--surge', '1'] });
  const storm = startStorm({ port: rig.port(), keepAlive: 10, fresh: 5 });
  await storm.answered(50);
  const { outcome } = await rig.hup();
  assert.equal(outcome, 'committed');
  const names = rig.events.map(({ event, generation }) => `${event} ${generation}`);
  const lastReady = names.lastIndexOf('worker-ready 2');
  const firstServing = names.indexOf('worker-serving 2');
  assert.ok(lastReady < firstServing && firstServing < names.indexOf('reload-committed 2'));
  assert.ok(names.indexOf('reload-committed 2') < names.indexOf('worker-draining 1'));
  await storm.answered(50);
  assert.deepEqual((await storm.stop()).failures, []);
  assert.equal((await rig.pids()).length, 3);
});

test('A worker that takes a crashed one’s place runs the code that has proved itself, whatever lies in the folder by now', async () => {
  using folder = temporaryFolder();
  const { rig, release } = await startDeployed(folder.path);
  await using _ = rig;
  release.deploy(fixture('throws-at-start.cjs'));
  const [pid] = await rig.pids();
  rig.forget();
  process.kill(pid as number, 'SIGKILL');
  await rig.until('worker-serving');
  assert.equal((await ask(rig.url())).status, 200);
});

test('A worker that takes a crashed one’s place runs what the paths lead to when its own release is gone', async () => {
  using folder = temporaryFolder();
  const old = join(folder.path, 'old.cjs');
  copyFileSync(fixture('http-echo.cjs'), old);
  const release = deployment(folder.path);
  release.deploy(old);
  await using rig = await startMaster({ script: release.script });
  release.deploy(fixture('http-echo.cjs'));
  rmSync(old);
  const [pid] = await rig.pids();
  rig.forget();
  process.kill(pid as number, 'SIGKILL');
  await rig.until('worker-serving');
  assert.equal((await ask(rig.url())).status, 200);
});

test('A failed reload does not rename the listeners of those who go on', async () => {
  using folder = temporaryFolder();
  const config = join(folder.path, 'config.json');
  const write = (script: string, name: string) => writeFileSync(config, JSON.stringify({ script: fixture(script), listen: [`127.0.0.1:0,name=${name}`] }));
  write('listens-by-name.mjs', 'web');
  await using rig = await startMaster({ script: 'listens-by-name.mjs', flags: ['--config', config] });
  const [address] = rig.addresses();
  const named = async () => (await rig.status()).listeners.filter(({ address: where }) => where === address).map(({ name }) => name);
  write('listens-by-name.mjs', 'api');
  writeFileSync(config, JSON.stringify({ ...JSON.parse(readFileSync(config, 'utf8')), nodeArg: ['--no-such-option'] }));
  assert.equal((await rig.hup())['outcome'], 'rolled-back');
  assert.deepEqual(await named(), ['web']);
  const [pid] = await rig.pids();
  rig.forget();
  process.kill(pid as number, 'SIGKILL');
  await rig.until('worker-serving');
  assert.equal((await ask(`http://${address}/`)).status, 200);
});

/** Connections to a loopback port that nobody has accepted. */
function queueLength(port: number): number {
  const local = port.toString(16).toUpperCase().padStart(4, '0');
  const line = readFileSync('/proc/net/tcp', 'latin1')
    .split('\n')
    .find((entry) => new RegExp(`^ *\\d+: [0-9A-F]{8}:${local} [0-9A-F]{8}:0000 0A `).test(entry));
  return Number.parseInt(line?.trim().split(/\s+/)[4]?.split(':')[1] ?? '', 16);
}
