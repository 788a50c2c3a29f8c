/** Datagram sockets are in custody as listeners are: who gets which, what becomes of what programs close, and what holds for all who share one. */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { askDatagram, assertAllAnswered, freePort, openSender, startTraffic } from '../helpers/datagrams.ts';
import { startDeployed } from '../helpers/releases.ts';
import { ask, cli, fixture, poll, type Rig, type RigOptions, startMaster, temporaryFolder } from '../helpers/rig.ts';

const host = '127.0.0.1';
/** Whose members the kernel tells for the whole machine. */
const group: string = `239.77.${(process.pid >> 8) & 0xff}.${process.pid & 0xff}`;

/** `binds.cjs` on a port of its own. */
async function start(form: (port: number) => object, options: Partial<RigOptions> = {}) {
  const folder = temporaryFolder();
  const file = join(folder.path, 'form.json');
  const change = (to: object) => writeFileSync(file, JSON.stringify(to));
  const port = await freePort();
  change(form(port));
  const rig = await startMaster({ script: 'binds.cjs', args: [file], ...options });
  const end = async () => {
    await rig[Symbol.asyncDispose]();
    folder[Symbol.dispose]();
  };
  return { rig, port, change, [Symbol.asyncDispose]: end };
}

const saysReady = ['--wait-ready', '--node-arg', '--require', '--node-arg', fixture('says-ready.cjs')];
const plain = (port: number) => ({ bind: { port, address: host } });

async function answersFrom(rig: Rig, port: number): Promise<void> {
  const pids = await rig.pids();
  assert.ok(pids.includes(Number((await askDatagram(port)).text.split(' ')[0])));
}

async function held(rig: Rig): Promise<string[]> {
  return (await rig.status()).listeners.map(({ address }) => address);
}

test('--listen udp:HOST:PORT holds a socket that the program finds by its name', async () => {
  await using rig = await startMaster({ script: 'binds-by-name.mjs', flags: ['--listen', 'udp:127.0.0.1:0,name=dns'] });
  const [address = ''] = rig.addresses();
  assert.match(address, /^udp:127\.0\.0\.1:\d+$/);
  assert.equal((await rig.hup())['outcome'], 'committed');
  await answersFrom(rig, rig.port());
  assert.deepEqual(rig.addresses(), await held(rig));
  assert.match((await rig.command('status')).stdout, /listening +dns=udp:127\.0\.0\.1:\d+/);
});

test('A UDP port in use: the start fails with the error that Node gives', async () => {
  const port = await freePort();
  const other = createSocket('udp4').bind(port, host);
  await once(other, 'listening');
  using folder = temporaryFolder();
  const started = (...flags: readonly string[]) =>
    cli(['start', fixture('answers-datagrams.cjs'), '--runtime-dir', folder.path, ...flags, '--', host, String(port)]);
  const { code, stderr } = await started();
  assert.notEqual(code, 0);
  assert.match(stderr, new RegExp(`bind EADDRINUSE 127\\.0\\.0\\.1:${port}`));
  const named = await started('--listen', `udp:${host}:${port}`);
  assert.match(named.stderr, new RegExp(`cannot listen on udp:127\\.0\\.0\\.1:${port}: address already in use`));
  other.close();
});

test('New code that does not bind where the old code does is refused, unless that is meant', async () => {
  await using program = await start(plain, { flags: ['--ready-timeout', '1s'] });
  const { rig, port, change } = program;
  change({});
  const { outcome, message } = await rig.hup();
  assert.equal(outcome, 'rolled-back');
  assert.match(message, new RegExp(`does not listen on udp:127\\.0\\.0\\.1:${port}`));
  await answersFrom(rig, port);
  rig.forget();
  assert.equal((await rig.command('reload', '--allow-address-change')).code, 0);
  assert.deepEqual((await rig.until('listeners-closed'))['listeners'], [`udp:${host}:${port}`]);
});

test('New code that is not ready receives nothing', async () => {
  const port = await freePort();
  const script = 'answers-datagrams.cjs';
  const flags = ['--wait-ready', '--ready-timeout', '1s'];
  await using deployed = await startDeployed([script, 'says-ready.cjs'], { args: [host, String(port)], flags });
  const { rig } = deployed;
  deployed.deploy('two', script);
  const traffic = await startTraffic(port, 5);
  assert.equal((await rig.hup())['outcome'], 'rolled-back');
  const seen = await traffic.stop();
  assertAllAnswered(seen);
  assert.deepEqual([...seen.pids], await rig.pids());
});

test('A socket that the program closes is closed when the master has let go of it: then anybody can have the address', async () => {
  await using program = await start(plain);
  const { rig, port } = program;
  await using sender = await openSender();
  rig.signal('SIGSTOP');
  sender.send(port, 'close');
  const said = (words: string) => rig.waitFor(() => rig.stdout.includes(words) || undefined, words);
  await said('a moment has passed');
  assert.ok(!rig.stdout.includes('closed'));
  rig.signal('SIGCONT');
  await said('closed');
  assert.deepEqual(await held(rig), []);
  const next = createSocket('udp4').bind(port, host);
  await once(next, 'listening');
  next.close();
});

test('Sockets that share an address by reuseAddr keep it apart over reloads', async () => {
  await using program = await start((port) => ({ ...plain(port), reuseAddr: true, count: 2 }));
  const { rig, port } = program;
  const both = [`udp:${host}:${port}`, `udp:${host}:${port}`];
  assert.deepEqual(await held(rig), both);
  assert.equal((await rig.hup())['outcome'], 'committed');
  assert.deepEqual(await held(rig), both);
  await answersFrom(rig, port);
});

test('Multicast groups are joined anew by the new worker; the old one leaves none that others want', async () => {
  await using program = await start((port) => ({ bind: { port }, groups: [group], leaves: true }));
  const { rig, port, change } = program;
  for (const leaves of [true, false]) {
    await hearsGroup(rig, port);
    change({ bind: { port }, groups: [group], leaves });
    assert.equal((await rig.hup())['outcome'], 'committed');
    await rig.until('worker-stopped');
  }
  await hearsGroup(rig, port);
  assert.ok(isJoined());
  change({ bind: { port } });
  assert.equal((await rig.hup())['outcome'], 'committed');
  await answersFrom(rig, port);
  await poll(
    () => !isJoined(),
    () => 'nobody wants the group any more, and it is still joined',
  );
});

/** What is sent to the group reaches the worker. */
async function hearsGroup(rig: Rig, port: number): Promise<void> {
  await using sender = await openSender();
  sender.socket.setMulticastInterface(host);
  sender.socket.send('group', port, group);
  assert.deepEqual(
    [(await sender.next()).text],
    (await rig.pids()).map((pid) => `${pid} group`),
  );
}

/** @see proc_net(5): addresses in the byte order of the host */
function isJoined(): boolean {
  const hex = Buffer.from(group.split('.').map(Number)).reverse().toString('hex').toUpperCase();
  return readFileSync('/proc/net/igmp', 'utf8').includes(hex);
}

test('A multicast group that can not be joined: the program gets the error that Node gives, and the old code goes on', async () => {
  await using program = await start(plain);
  const { rig, port, change } = program;
  change({ ...plain(port), groups: ['127.0.0.2'] });
  const { outcome, message } = await rig.hup();
  assert.equal(outcome, 'rolled-back');
  assert.match(message, /addMembership EINVAL/);
  await answersFrom(rig, port);
});

test('A socket with a peer has it after a reload, too, and hears nobody else', async () => {
  await using peer = await openSender();
  await using program = await start((port) => ({ ...plain(port), peer: peer.socket.address().port }));
  const { rig, port } = program;
  for (let reload = 0; reload < 2; reload++) {
    await using stranger = await openSender();
    stranger.send(port, 'from a stranger');
    const [pid] = await rig.pids();
    assert.equal((await peer.ask(port, 'from the peer')).text, `${pid} from the peer`);
    if (reload === 0) assert.equal((await rig.hup())['outcome'], 'committed');
  }
});

test('exclusive sockets are private: a fixed port is taken while two overlap, as without a supervisor', async () => {
  await using program = await start((port) => ({ bind: { port, address: host, exclusive: true } }), { flags: saysReady });
  const { rig, port } = program;
  assert.deepEqual(await held(rig), []);
  const { outcome, message } = await rig.hup();
  assert.equal(outcome, 'rolled-back');
  assert.match(message, /bind EADDRINUSE/);
  await answersFrom(rig, port);
});

test('A server at the same port over TCP is another thing', async () => {
  const port = await freePort();
  const flags = ['--listen', `${host}:${port}`, '--listen', `udp:${host}:${port}`];
  await using rig = await startMaster({ script: 'answers-twice.cjs', args: [host, String(port)], flags });
  assert.equal((await rig.hup())['outcome'], 'committed');
  await answersFrom(rig, port);
  assert.deepEqual([Number((await ask(`http://${host}:${port}`)).text)], await rig.pids());
});
