/** What a program closes is let go of, as without a supervisor: the master keeps what is used, and nothing else. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, writeFileSync } from 'node:fs';
import { createServer, type ListenOptions } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { ask, cli, fixture, listensOn, poll, startMaster, temporaryFolder } from '../helpers/rig.ts';
import { dial } from '../helpers/wire.ts';

const host = '127.0.0.1';
const withoutIpv6 = Object.values(networkInterfaces()).some((list) => list?.some(({ address }) => address === '::1')) ? false : 'this machine has no ::1';

test('However often a program listens and closes, the master holds what it listens on in the end', async () => {
  using folder = temporaryFolder();
  await using rig = await startMaster({ script: 'piles-up.cjs', args: ['60'], cwd: folder.path });
  assert.equal((await rig.status()).listeners.length, 1);
  assert.equal(listensOn(rig.pid), 1);
  assert.deepEqual(readdirSync(folder.path), []);
  assert.deepEqual(rig.all('listeners-closed'), [], 'what a program itself closes is no news');
  assert.equal((await rig.hup())['outcome'], 'committed');
  assert.deepEqual([Number((await ask(rig.url())).text)], await rig.pids());
  assert.equal(listensOn(rig.pid), 1);
});

for (const hosts of [['any', '0.0.0.0'], [host, 'any'], ['any', host], [host], ['any', '0.0.0.0', '::1', host, '::']]) {
  test(`A program that looks whether its port is free gets it, at the start and at a reload: ${hosts.join(', ')}`, { skip: withoutIpv6 }, async () => {
    const port = await freePort();
    await using rig = await startMaster({ script: 'probes-port.cjs', args: [String(port), ...hosts] });
    assert.deepEqual([Number((await ask(`http://${host}:${port}`)).text)], await rig.pids());
    assert.equal((await rig.hup())['outcome'], 'committed');
    assert.deepEqual([Number((await ask(`http://${host}:${port}`)).text)], await rig.pids());
    assert.equal((await rig.status()).listeners.length, 1);
  });
}

test('A port that a program has closed is free for a child that it tells it to', async () => {
  await using rig = await startMaster({ script: 'lends-port.cjs' });
  const { told, port } = JSON.parse((await ask(rig.url())).text) as { told: string; port: number };
  assert.equal(told, 'listening');
  using wire = await dial({ port, host });
  await wire.until('child');
});

test('A server tells that it is closed when its address is free and its last connection has ended, not before', async () => {
  await using rig = await startMaster({ script: 'tells-close.cjs' });
  await ask(rig.url(3));
  await rig.waitFor(() => /closed\n.*\n$/.test(rig.stdout) || undefined, 'the close');
  assert.equal(rig.stdout, 'closes\nconnection ends, free\nclosed\nfree\n');
});

test('A server that closes while its master does not answer tells so when that is gone', async () => {
  await using rig = await startMaster({ script: 'tells-close.cjs', flags: ['--linger', '0s'] });
  const url = rig.url(3);
  process.kill(rig.pid, 'SIGSTOP');
  await ask(`${url}/alone`);
  await rig.waitFor(() => rig.stdout.includes('closes') || undefined, 'the close');
  await ask(`${url}/later`);
  assert.equal(rig.stdout, 'closes\n');
  process.kill(rig.pid, 'SIGKILL');
  assert.match((await rig.finished).stdout, /^closes\nclosed\n/);
});

test('A program that closes its server while its own client connects ends as without a supervisor', async () => {
  using folder = temporaryFolder();
  const { stdout, code } = await cli([
    'start',
    fixture('closes-under-its-client.cjs'),
    '--restart',
    'never',
    '--ready-timeout',
    '10m',
    '--runtime-dir',
    folder.path,
  ]);
  assert.match(stdout, /^client: ECONN(RESET|REFUSED)\nclient: close\n$/);
  assert.equal(code, 0);
});

test('Who connects to a data port that was closed is refused, and is never taken for a client of the next one', async () => {
  await using rig = await startMaster({ script: 'data-ports.cjs', flags: ['--workers', '2'] });
  const late = Number((await ask(`${rig.url()}/alice?close`)).text);
  await assert.rejects(dial({ port: late, host }), { code: 'ECONNREFUSED' });
  const [one, two] = await Promise.all(['bob', 'carol'].map(async (name) => Number((await ask(`${rig.url()}/${name}`)).text)));
  assert.ok(one && two && one !== two);
  await rig.hup();
  const three = Number((await ask(`${rig.url()}/dave`)).text);
  assert.ok(three !== one && three !== two);
  using wire = await dial({ port: three, host });
  wire.write('bytes');
  await rig.waitFor(() => /dave got bytes/.test(rig.stdout) || undefined, 'the bytes');
});

test('Overlapping forms of one port behave as under plain Node, in every order', { skip: withoutIpv6 }, async () => {
  using folder = temporaryFolder();
  const file = join(folder.path, 'deeds.json');
  const forms: ListenOptions[] = [{}, { host: '0.0.0.0' }, { host: '::' }, { host: '::', ipv6Only: true }, { host }, { host: '::1' }, { host: 'localhost' }];
  const pairs = forms.flatMap((one) => forms.map((two) => [one, two]));
  writeFileSync(file, JSON.stringify([...pairs, ...pairs.map(([one, two]) => [one, 0, two, one])]));
  const bare = execFileSync(process.execPath, [fixture('listens-in-order.cjs'), file], { encoding: 'utf8' });
  assert.match(bare, /"ok,EADDRINUSE"/);
  await using rig = await startMaster({ script: 'listens-in-order.cjs', args: [file, String(await freePort())], flags: ['--wait-ready'] });
  assert.deepEqual(told(rig.stdout), told(bare));
  rig.forget();
  assert.equal((await rig.hup())['outcome'], 'committed');
  assert.deepEqual(told(rig.stdout.slice(bare.length)), told(bare), 'at a reload');
  assert.equal((await rig.status()).listeners.length, 1);
});

test('New code that wants another form of what the old code has gets the error of Node when it is to be ready', async () => {
  using folder = temporaryFolder();
  const [file, port] = [join(folder.path, 'options.json'), await freePort()];
  writeFileSync(file, JSON.stringify([{ port, host: '0.0.0.0' }]));
  await using rig = await startMaster({ script: 'listens-where-told.cjs', args: [file], flags: ['--allow-address-change'] });
  writeFileSync(file, JSON.stringify([{ port, host }]));
  const { outcome, message } = await rig.hup();
  assert.equal(outcome, 'rolled-back');
  assert.match(message, new RegExp(`listen EADDRINUSE: address already in use ${host}:${port}`));
  assert.deepEqual([Number((await ask(`http://${host}:${port}`)).text)], await rig.pids());
});

test('A program that tries an address that another worker has, and wants nothing more, ends by itself', async () => {
  using folder = temporaryFolder();
  const script = join(folder.path, 'app.cjs');
  const listen = listenerAt(script, await freePort());
  listen('0.0.0.0', '{}');
  await using rig = await startMaster({ script, flags: ['--ready-timeout', '10m'] });
  listen(host, 'server.close()');
  assert.match((await rig.hup()).message, /exited with code 0 without being asked to/);
});

test('A program that has tried an address that another worker has, and has more to do, does not listen yet', async () => {
  using folder = temporaryFolder();
  const script = join(folder.path, 'app.cjs');
  const listen = listenerAt(script, await freePort());
  listen('0.0.0.0', '{}');
  await using rig = await startMaster({ script, flags: ['--ready-timeout', '1s'] });
  listen(host, 'server.close(() => setInterval(() => {}, 1000))');
  assert.match((await rig.hup()).message, /it does not listen yet/);
});

test('A worker that believes that it listens where another one does gets that address if it is free when it is to be ready', async () => {
  using folder = temporaryFolder();
  const port = await freePort();
  const flags = ['--workers', '2', '--wait-ready'];
  await using rig = await startMaster({ script: 'takes-turns.cjs', args: [String(port)], cwd: folder.path, flags });
  const { workers } = await rig.status();
  assert.equal(Number((await ask(`http://${host}:${port}`)).text), workers.find(({ index }) => index === 1)?.pid);
});

test('What a dead worker had waits for its replacement, and is let go of if that does not want it', async () => {
  using folder = temporaryFolder();
  const file = join(folder.path, 'options.json');
  const spare = join(folder.path, 'spare.sock');
  writeFileSync(file, JSON.stringify([{ port: 0, host }, { path: spare }]));
  await using rig = await startMaster({ script: 'listens-where-told.cjs', args: [file], flags: ['--ready-timeout', '1s', '--backoff-min', '300ms'] });
  writeFileSync(file, JSON.stringify([{ port: 0, host }]));
  for (const crash of [1, 2]) {
    const [pid = 0] = await rig.pids();
    rig.forget();
    process.kill(pid, 'SIGKILL');
    await rig.until('worker-crashed');
    if (crash === 1) assert.ok(readdirSync(folder.path).includes('spare.sock'));
    await rig.until('worker-serving');
    if (crash === 1) assert.deepEqual((await rig.until('listeners-closed'))['listeners'], [`unix:${spare}`]);
  }
  assert.equal((await ask(rig.url(1))).status, 200);
});

test('A program that has closed its probe, and listens nowhere, does not listen yet', async () => {
  await using rig = await startMaster({ script: 'closes-probe.cjs', flags: ['--ready-timeout', '500ms'], waitReady: false });
  assert.match((await rig.until('worker-unfit')).message, /it does not listen yet/);
  await rig.finished;
});

/** Writes a program that listens there on a host, and does something then. */
function listenerAt(script: string, port: number): (hostname: string, then: string) => void {
  return (hostname, then) => writeFileSync(script, `const server = require('node:http').createServer().listen(${port}, '${hostname}', () => ${then});`);
}

function told(text: string): unknown {
  return JSON.parse(text.trim().split('\n').at(-1) ?? '');
}

/** One that nobody has just now. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen({ port: 0, host: '::' }, resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  await poll(
    () => !server.listening,
    () => 'it still listens',
  );
  return typeof address === 'object' && address !== null ? address.port : 0;
}
