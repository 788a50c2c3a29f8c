/** Sockets that the master is started with, as a `.socket` unit of systemd passes them: who gets which, and that they are nobody's to close. */
import assert from 'node:assert/strict';
import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import { once } from 'node:events';
import { chmodSync, closeSync, openSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type ListenOptions, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openSender } from '../helpers/datagrams.ts';
import { type Passed, type PassedSockets, passSockets } from '../helpers/passed-sockets.ts';
import { ask, descriptors, type LoggedEvent, type Rig, type RigOptions, startMaster, temporaryFolder } from '../helpers/rig.ts';
import { startStorm } from '../helpers/storm.ts';
import { dial } from '../helpers/wire.ts';

const host = '127.0.0.1';
const withoutIpv6 = Object.values(networkInterfaces()).some((list) => list?.some(({ address }) => address === '::1')) ? false : 'this machine has no ::1';

/** What is passed, what the program listens on, and whether they belong together. */
const rules: readonly (readonly [title: string, passed: Passed, listen: ListenOptions])[] = [
  ['the very address', { host, port: 0 }, { host }],
  ['every IPv4 address', { host: '0.0.0.0', port: 0 }, { host: '0.0.0.0' }],
  ['every address', { host: '::', port: 0 }, {}],
  ['every address, for one', { host: '::', port: 0 }, { host }],
  ['every address, for every IPv4 one', { host: '::', port: 0 }, { host: '0.0.0.0' }],
  ['every IPv4 address, for every address', { host: '0.0.0.0', port: 0 }, {}],
  ['one address, for every address', { host, port: 0 }, {}],
  ['IPv6', { host: '::1', port: 0 }, { host: '::1' }],
  ['IPv6, spelled out', { host: '::1', port: 0 }, { host: '0:0:0:0:0:0:0:1' }],
  ['IPv6 only', { host: '::', port: 0, ipv6Only: true }, { host: '::', ipv6Only: true }],
];

for (const [title, passed, listen] of rules) {
  test(`A program gets the socket that was passed for its port: ${title}`, { skip: 'host' in passed && passed.host.includes(':') && withoutIpv6 }, async () => {
    using sockets = passSockets(passed);
    await serves(sockets, { ...listen, port: sockets.ports[0] as number }, (path) => `http://${toHost(passed)}:${sockets.ports[0]}${path}`);
  });
}

test('A program gets the Unix socket that was passed, which keeps its path and mode', async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'web.sock');
  using sockets = passSockets({ path });
  chmodSync(path, 0o600);
  const before = statSync(path);
  await serves(sockets, { path, readableAll: true }, () => '', path);
  const after = statSync(path);
  assert.deepEqual([after.ino, after.mode], [before.ino, before.mode]);
});

test('A program gets the abstract Unix socket that was passed', async () => {
  const path = `\0gs-test-${process.pid}`;
  using sockets = passSockets({ path });
  await serves(sockets, { path }, () => '', path);
});

test('Another address on the same port is another listener', async () => {
  using sockets = passSockets({ host: '127.0.0.2', port: 0 });
  await using rig = await start(sockets, [{ host, port: sockets.ports[0] as number }]);
  assert.deepEqual([...(await pidsAt(host, sockets)), ...(await pidsAt(host, sockets))], [...(await rig.pids()), ...(await rig.pids())]);
  assert.equal((await rig.status()).listeners.length, 2);
});

test('Of several sockets each program finds its own, and what nobody asks for is said once and stays', async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'admin.sock');
  using sockets = passSockets({ host, port: 0 }, { path }, { host: '127.0.0.2', port: 0, name: 'spare.socket' });
  const [port = 0, , spare = 0] = sockets.ports;
  using program = listens([{ path }, { host, port }]);
  const flags = ['--allow-address-change'];
  await using rig = await startMaster({ script: 'listens.cjs', args: [program.file], flags, passes: sockets.fds, env: sockets.env });
  assert.deepEqual(rig.addresses(), [`${host}:${port}`, `unix:${path}`, `127.0.0.2:${spare}`]);
  await rig.hup();
  await rig.until('worker-stopped');
  assert.equal((await ask('http://localhost', { socketPath: path })).status, 200);
  program.change([{ host: '127.0.0.2', port: spare }]);
  await rig.hup();
  await rig.until('worker-stopped');
  assert.deepEqual([Number((await ask(`http://127.0.0.2:${spare}`)).text)], await rig.pids());
  using waiting = await dial({ host, port }); // it is not closed, though no program listens there any more
  assert.equal(waiting.ended, undefined);
  const unused = rig.events.filter(({ event }) => event === 'sockets-unused');
  assert.deepEqual(
    unused.map(({ message }) => message),
    [`passed by systemd, but the program does not listen there: 127.0.0.2:${spare}`],
  );
});

test('listener() finds a socket by the name of its unit; of several the first', async () => {
  using sockets = passSockets({ host: '127.0.0.2', port: 0, name: 'other' }, { host, port: 0, name: 'web' }, { host: '127.0.0.3', port: 0, name: 'web' });
  await using rig = await startMaster({ script: 'listens-by-name.mjs', passes: sockets.fds, env: sockets.env });
  assert.deepEqual([Number((await ask(`http://${host}:${sockets.ports[1]}`)).text)], await rig.pids());
  assert.deepEqual(
    (await rig.status()).listeners.map(({ name }) => name),
    ['other', 'web', 'web'],
  );
});

test('--listen of a passed address uses the socket, and may give it a name', async () => {
  using sockets = passSockets({ host: '127.0.0.2', port: 0, name: 'web' }, { host, port: 0 });
  const flags = ['--listen', `${host}:${sockets.ports[1]},name=web`];
  await using rig = await startMaster({ script: 'listens-by-name.mjs', flags, passes: sockets.fds, env: sockets.env });
  assert.deepEqual([Number((await ask(`http://${host}:${sockets.ports[1]}`)).text)], await rig.pids());
  assert.equal((await rig.status()).listeners.length, 2);
});

test('A --listen that fails closes no passed socket', async () => {
  using sockets = passSockets({ host, port: 0 });
  const taken = createServer().listen(0, host);
  await once(taken, 'listening');
  const flags = ['--listen', `${host}:${sockets.ports[0]}`, '--listen', `${host}:${(taken.address() as AddressInfo).port}`];
  using program = listens([{ host, port: sockets.ports[0] as number }]);
  const config = join(program.folder, 'config.json');
  writeFileSync(config, JSON.stringify({ listen: [] }));
  const options = { script: 'listens.cjs', args: [program.file], flags: ['--config', config], passes: sockets.fds, env: sockets.env };
  await using rig = await startMaster(options);
  writeFileSync(config, JSON.stringify({ listen: [flags[1], flags[3]] }));
  const refused = await rig.hup();
  assert.match(refused.message, /address already in use/);
  taken.close();
  writeFileSync(config, JSON.stringify({ listen: [] }));
  assert.equal((await rig.hup())['outcome'], 'committed');
  assert.deepEqual(await pidsAt(host, sockets), await rig.pids());
});

test('Who connects before the start is served by a generation that is ready', async () => {
  using sockets = passSockets({ host, port: 0 });
  const wires = await Promise.all(Array.from({ length: 20 }, () => dial({ host, port: sockets.ports[0] as number })));
  for (const wire of wires) wire.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
  await using rig = await start(sockets, [{ host, port: sockets.ports[0] as number }], { flags: ['--workers', '2'] });
  for (const wire of wires) assert.equal(await wire.end(), 'FIN');
  const pids = await rig.pids();
  for (const wire of wires) assert.ok(pids.includes(Number(wire.text.split('\r\n\r\n')[1])));
});

test('A start that fails half-way meets no client: they wait for the next', async () => {
  using folder = temporaryFolder();
  using sockets = passSockets({ host, port: 0 });
  const [port = 0] = sockets.ports;
  using wire = await dial({ host, port });
  wire.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
  const env = { ...sockets.env, PORT: String(port), MARK: join(folder.path, 'mark') };
  const flags = ['--workers', '2', '--surge', '1']; // the first one listens before the second one starts
  await using failing = await startMaster({ script: 'second-worker-crashes.cjs', flags, passes: sockets.fds, env, waitReady: false });
  assert.notEqual((await failing.finished).code, 0);
  assert.deepEqual([wire.text, wire.ended], ['', undefined]);
  await using rig = await startMaster({ script: 'http-echo.cjs', passes: sockets.fds, env });
  assert.equal(await wire.end(), 'FIN');
  assert.match(wire.text, new RegExp(`"pid":${(await rig.pids())[0]},`));
});

test('A passed Unix socket whose path is gone harms nobody', async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'web.sock');
  using sockets = passSockets({ path }, { host, port: 0 });
  rmSync(path);
  await using rig = await start(sockets, [{ host, port: sockets.ports[1] as number }]);
  assert.deepEqual(await pidsAt(host, sockets, 1), await rig.pids());
});

test('A stop and a start under load refuse nobody', async () => {
  using sockets = passSockets({ host, port: 0 });
  const options = { script: 'http-echo.cjs', passes: sockets.fds, env: { ...sockets.env, PORT: String(sockets.ports[0]) }, flags: ['--idle-grace', '1s'] };
  const storm = startStorm({ port: sockets.ports[0] as number, keepAlive: 10, fresh: 10 });
  for (let round = 0; round < 3; round++) {
    await using rig = await startMaster(options);
    await storm.answered(200);
    assert.equal((await rig.stop()).code, 0);
  }
  await using _last = await startMaster(options);
  await storm.answered(200);
  const { failures, answered } = await storm.stop();
  assert.deepEqual(failures, []);
  assert.ok(answered >= 800);
});

test('What is no listening socket is named and ignored; the descriptor of notifications is not mentioned', async () => {
  using folder = temporaryFolder();
  writeFileSync(join(folder.path, 'file'), '');
  const file = openSync(join(folder.path, 'file'), 'r');
  const datagrams = createSocket('udp4');
  await new Promise<void>((resolve) => void datagrams.connect(9, host, resolve));
  const [overTcp, overPath] = await Promise.all([{ port: 0, host }, { path: join(folder.path, 'other.sock') }].map(connectTo));
  using sockets = passSockets(
    { fd: file, name: 'file' },
    { fd: fdOf(datagrams) },
    { fd: fdOf(overTcp as Socket), name: 'connection' },
    { fd: fdOf(overPath as Socket), name: 'connection' },
    { host, port: 0 },
    { fd: file, name: 'notify' },
  );
  await using rig = await start(sockets, [{ host, port: sockets.ports[4] as number }]);
  assert.deepEqual(await pidsAt(host, sockets, 4), await rig.pids());
  assert.deepEqual(messages(rig, 'descriptor-ignored'), [
    'descriptor 3 ("file") is ignored: it is no socket',
    'descriptor 4 ("unknown") is ignored: it is a connection, not a listening socket; Accept=no makes one',
    'descriptor 5 ("connection") is ignored: it is a connection, not a listening socket; Accept=no makes one',
    'descriptor 6 ("connection") is ignored: it is a connection, not a listening socket; Accept=no makes one',
  ]);
  closeSync(file);
  datagrams.close();
  overTcp?.destroy();
  overPath?.destroy();
});

test('A program gets the datagram socket that was passed for its port, over reloads and masters; what waits in it is read', async () => {
  using sockets = passSockets({ host, port: 0, isDatagram: true, name: 'dns' });
  const [port = 0] = sockets.ports;
  await using sender = await openSender();
  for (let master = 0; master < 2; master++) {
    sender.send(port, 'waits');
    await using rig = await startMaster({ script: 'answers-datagrams.cjs', args: [host, String(port)], passes: sockets.fds, env: sockets.env });
    assert.deepEqual(
      [(await sender.next()).text],
      (await rig.pids()).map((pid) => `${pid} waits`),
    );
    assert.equal((await rig.hup())['outcome'], 'committed');
    assert.deepEqual(
      [(await sender.ask(port, 'hello')).text],
      (await rig.pids()).map((pid) => `${pid} hello`),
    );
    assert.deepEqual(rig.addresses(), [`udp:${host}:${port}`]);
    assert.deepEqual(messages(rig, 'listeners-inherited'), [`inherited from systemd: udp:${host}:${port} (dns)`]);
  }
});

test('More descriptors promised than there are', async () => {
  using sockets = passSockets({ host, port: 0 });
  await using rig = await start({ ...sockets, env: { LISTEN_FDS: '90' } }, [{ host, port: sockets.ports[0] as number }]);
  assert.deepEqual(await pidsAt(host, sockets), await rig.pids());
});

test('LISTEN_FDS that is meant for another process is not touched', async () => {
  using sockets = passSockets({ host, port: 0 });
  using program = listens([{ host, port: 0 }]);
  await using rig = await startMaster({ script: 'listens.cjs', args: [program.file], env: { ...sockets.env, LISTEN_PID: '1' } });
  assert.equal(rig.addresses().length, 1);
  assert.match(messages(rig, 'descriptor-ignored').join(), /^LISTEN_FDS is ignored: it is meant for process 1, and this is \d+;/);
});

test('Workers inherit neither the sockets nor the variables', async () => {
  using sockets = passSockets({ host, port: 0, name: 'web' }, { host: '127.0.0.2', port: 0, name: 'spare' });
  await using rig = await start(sockets, [{ host, port: sockets.ports[0] as number }], { env: { LISTEN_PIDFDID: '7', FDSTORE: '0' } });
  const [worker = 0] = await rig.pids();
  const links = sockets.fds.map((fd) => readlinkSync(`/proc/self/fd/${fd}`));
  assert.deepEqual(
    links.map((link) => descriptors(rig.pid).filter((other) => other === link).length),
    [1, 1],
  );
  assert.deepEqual(
    links.map((link) => descriptors(worker).filter((other) => other === link).length),
    [1, 0],
  );
  assert.doesNotMatch(readFileSync(`/proc/${worker}/environ`, 'utf8'), /(^|\0)(LISTEN_|FDSTORE)/);
});

/** `listens.cjs` with these options. */
function listens(options: readonly ListenOptions[]) {
  const folder = temporaryFolder();
  const file = join(folder.path, 'options.json');
  const change = (to: readonly ListenOptions[]) => writeFileSync(file, JSON.stringify(to));
  change(options);
  return { folder: folder.path, file, change, [Symbol.dispose]: () => folder[Symbol.dispose]() };
}

/** A master whose program listens so. */
async function start(sockets: PassedSockets, options: readonly ListenOptions[], more: Partial<RigOptions> = {}): Promise<Rig> {
  using program = listens(options);
  return await startMaster({ script: 'listens.cjs', args: [program.file], passes: sockets.fds, ...more, env: { ...sockets.env, ...more.env } });
}

/** Serves on the one socket that was passed, over a reload, and leaves it alone at the stop. */
async function serves(sockets: PassedSockets, listen: ListenOptions, toUrl: (path: string) => string, socketPath?: string): Promise<void> {
  const askIt = async () => Number((await (socketPath === undefined ? ask(toUrl('/')) : ask('http://localhost', { socketPath }))).text);
  using program = listens([listen]);
  await using rig = await startMaster({ script: 'listens.cjs', args: [program.file], passes: sockets.fds, env: sockets.env });
  assert.deepEqual([await askIt()], await rig.pids());
  await rig.hup();
  assert.deepEqual([await askIt()], await rig.pids());
  assert.deepEqual(
    (await rig.status()).listeners.map(({ backlog }) => backlog),
    [4096],
  );
  assert.deepEqual(messages(rig, 'sockets-unused'), []);
  assert.equal((await rig.stop()).code, 0);
  const url = new URL(toUrl('/') || 'http://localhost');
  using wire = await dial(socketPath === undefined ? { host: url.hostname.replace(/[[\]]/g, ''), port: Number(url.port) } : { path: socketPath });
  assert.equal(wire.ended, undefined, 'the socket goes on to queue connections');
}

async function pidsAt(where: string, { ports }: PassedSockets, index = 0): Promise<number[]> {
  return [Number((await ask(`http://${where}:${ports[index]}`)).text)];
}

function toHost(passed: Passed): string {
  if (!('host' in passed)) return '';
  if (passed.host === '::' && passed.ipv6Only) return '[::1]';
  return passed.host === '::1' ? '[::1]' : passed.host === '127.0.0.2' ? passed.host : host;
}

function messages(rig: Rig, event: string): string[] {
  return rig.events.filter((one: LoggedEvent) => one.event === event).map(({ message }) => message);
}

/** A connection to a server that ends with it. */
async function connectTo(options: ListenOptions): Promise<Socket> {
  const server = createServer((accepted) => accepted.on('error', () => {}).once('close', () => server.close())).listen(options);
  await once(server, 'listening');
  const address = server.address() as AddressInfo | string;
  const socket = connect(typeof address === 'string' ? { path: address } : { host, port: address.port });
  await once(socket, 'connect');
  return socket;
}

/** Node does not tell it. */
function fdOf(socket: Socket | DatagramSocket): number {
  const { _handle: handle } = socket as unknown as { _handle?: { fd: number } };
  const hidden = Object.getOwnPropertySymbols(socket).map((symbol) => (socket as unknown as Record<symbol, { handle?: { fd: number } }>)[symbol]?.handle);
  return (handle ?? hidden.find((one) => one !== undefined && one !== null))?.fd as number;
}
