import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { ask, cli, fixture, poll, root, startMaster, temporaryFolder } from '../helpers/rig.ts';

const echo = fixture('http-echo.cjs');
const bin = join(root, 'bin/graceful-super.js');
const hasScript = spawnSync('script', ['--version']).status === 0;

test('The log is one line of JSON an event, with time, level, event and message first', async () => {
  await using rig = await startMaster({ script: 'http-echo.cjs' });
  await rig.hup();
  await rig.stop();
  const lines = rig.stderr.trimEnd().split('\n');
  for (const line of lines) {
    const event = JSON.parse(line) as Record<string, string>;
    assert.deepEqual(Object.keys(event).slice(0, 4), ['time', 'level', 'event', 'message'], line);
    assert.ok(!Number.isNaN(Date.parse(event['time'] as string)));
    assert.match(event['level'] as string, /^(error|warn|info|debug)$/);
    assert.match(event['event'] as string, /^[a-z]+(-[a-z]+)*$/);
  }
  const times = lines.map((line) => (JSON.parse(line) as { time: string }).time);
  assert.deepEqual(times, [...times].sort(), 'in the order of time');
});

test('A message of several lines is one line of JSON too', async () => {
  await using rig = await startMaster({ script: 'throws-at-start.cjs', waitReady: false });
  await rig.finished;
  const finished = await rig.until('reload-finished');
  assert.match(finished.message, /^start failed: worker 1 /);
  assert.equal(finished.level, 'error');
  const [line] = rig.stderr.split('\n').filter((text) => text.includes('"reload-finished"'));
  assert.equal((JSON.parse(line as string) as { stack?: string }).stack?.includes('\n    at '), true, 'the stack comes along');
});

test('--log-level leaves out what matters less', async () => {
  await using rig = await startMaster({ script: 'http-echo.cjs', flags: ['--log-level', 'warn'], waitReady: false });
  await rig.waitFor(() => (rig.stdout.includes('listening') ? true : undefined), 'the program');
  rig.signal('SIGUSR2');
  await rig.until('signal-ignored');
  await rig.stop();
  assert.ok(rig.events.every(({ level }) => level === 'warn' || level === 'error'));
});

test('--log-file takes the log instead of stderr, and grows from start to start', async () => {
  using folder = temporaryFolder();
  const logFile = join(folder.path, 'log');
  const flags = ['--log-file', logFile];
  for (let start = 1; start <= 2; start++) {
    await using rig = await startMaster({ script: 'http-echo.cjs', flags, waitReady: false });
    const count = () => readFileSync(logFile, 'utf8').split('"event":"master-ready"').length - 1;
    await rig.waitFor(() => (rig.stdout.includes('listening') ? true : undefined), 'the program');
    await poll(
      () => count() === start,
      () => readFileSync(logFile, 'utf8'),
    );
    await rig.stop();
    assert.equal(rig.stderr, '');
    assert.match(readFileSync(logFile, 'utf8').trimEnd().split('\n').at(-1) as string, /"worker-stopped"/, 'the last line is written');
  }
});

test('On a terminal the log is for people, and ^C ends everything', hasScript ? {} : { skip: 'needs script(1) of util-linux' }, async () => {
  using folder = temporaryFolder();
  // exec: a shell that stays (dash) would get the ^C too, and answer 130 for whatever its child does.
  const command = `exec '${process.execPath}' '${bin}' start '${echo}' --runtime-dir '${folder.path}'`;
  const terminal = spawn('script', ['-qec', command, '/dev/null'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(terminal, 'close');
  let seen = '';
  for await (const line of createInterface({ input: terminal.stdout })) {
    seen += `${line}\n`;
    if (line.includes('listening on')) terminal.stdin.write('\x03');
  }
  assert.match(seen, /^\d\d:\d\d:\d\d\.\d{3} info {2}starting$/m);
  assert.match(seen, /info {2}master "http-echo", pid \d+, listening on 127\.0\.0\.1:\d+$/m);
  assert.match(seen, /info {2}stopping \(SIGINT\): 1 worker$/m);
  assert.deepEqual(await ended, [0, null]);
});

test('--log-format text puts a stack below its line', async () => {
  using folder = temporaryFolder();
  const { stderr } = await cli(['start', fixture('throws-at-start.cjs'), '--log-format', 'text', '--runtime-dir', folder.path]);
  assert.match(stderr, /^\d\d:\d\d:\d\d\.\d{3} error start failed: worker 1 .*\n {4}.*Error.*\n {8}at /m);
  assert.doesNotMatch(stderr, /^\{/m);
});

test('A reader of the log that goes away ends neither the master nor the program', async () => {
  await using rig = await startMaster({ script: 'http-echo.cjs' });
  rig.child.stderr?.destroy();
  rig.child.stdout?.destroy();
  for (let generation = 2; generation <= 4; generation++) {
    assert.equal((await rig.command('reload')).code, 0);
    assert.equal((await rig.status()).generation, generation);
  }
  assert.equal((await ask(rig.url())).status, 200);
  rig.signal('SIGTERM');
  const [code] = await once(rig.child, 'exit');
  assert.equal(code, 0);
});

test('A worker writes to the very stdout and stderr of the master', async () => {
  await using rig = await startMaster({ script: 'http-echo.cjs' });
  const [pid] = await rig.pids();
  for (const fd of [1, 2]) assert.equal(readlinkSync(`/proc/${pid}/fd/${fd}`), readlinkSync(`/proc/${rig.pid}/fd/${fd}`));
  assert.equal(readlinkSync(`/proc/${pid}/fd/0`), '/dev/null');
  assert.match(rig.stdout, new RegExp(`^listening ${pid}$`, 'm'));
});

test('A full disk costs log lines, not the log: it goes on when there is room, and says how many are missing', async (t) => {
  using folder = temporaryFolder();
  const disk = join(folder.path, 'disk');
  mkdirSync(disk);
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=16k', 'tmpfs', disk]).status !== 0) return t.skip('no right to mount a small disk');
  try {
    const log = join(disk, 'master.log');
    await using rig = await startMaster({ script: 'http-echo.cjs', flags: ['--log-file', log], waitReady: false });
    const eventsIn = () =>
      (existsSync(log) ? readFileSync(log, 'utf8') : '')
        .split('\n')
        .flatMap((line) => (line.startsWith('{') && line.endsWith('}') ? [JSON.parse(line) as { event: string }] : []));
    await poll(
      () => eventsIn().some(({ event }) => event === 'master-ready'),
      () => 'the start is not logged',
    );
    assert.throws(() => writeFileSync(join(disk, 'filler'), Buffer.alloc(64 * 1024)), { code: 'ENOSPC' });
    for (let reload = 0; reload < 12; reload++) assert.equal((await rig.command('reload')).code, 0);
    rmSync(join(disk, 'filler'));
    assert.equal((await rig.command('reload')).code, 0);
    await poll(
      () => eventsIn().some(({ event }) => event === 'log-lines-lost'),
      () => 'nothing tells of the gap',
    );
    await rig.stop();
  } finally {
    spawnSync('umount', [disk]);
  }
});
