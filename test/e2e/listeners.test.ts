/** Custody of the listeners: each form of address, what becomes of it, and how a program learns that it can't have it. */
import assert from 'node:assert/strict';
import { execFile, execFileSync, type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { createServer, isIPv6, type ListenOptions, type Server } from 'node:net';
import { networkInterfaces } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { ask, fixture, poll, type Rig, root, startMaster, temporaryFolder } from '../helpers/rig.ts';
import { dial } from '../helpers/wire.ts';

const host = '127.0.0.1';
const withoutIpv6 = Object.values(networkInterfaces()).some((list) => list?.some(({ address }) => address === '::1')) ? false : 'this machine has no ::1';

/** Runs Node without the rights of root. */
const nobody = {
  get reason(): string | false {
    if (Number(readFileSync('/proc/sys/net/ipv4/ip_unprivileged_port_start', 'utf8')) <= 1) return 'every user may have every port here';
    if (process.getuid?.() !== 0) return false;
    return nobody.run(['--version']).status === 0 ? false : 'there is no setpriv(1) to become somebody else';
  },
  run(args: readonly string[]): SpawnSyncReturns<string> {
    const become = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];
    const [command = '', ...rest] = [...(process.getuid?.() === 0 ? become : []), process.execPath, ...args];
    return spawnSync(command, rest, { encoding: 'utf8' });
  },
};

/** What `listens.cjs` prints. */
interface Told {
  readonly pid: number;
  readonly index: number;
  readonly what: 'listening' | 'error';
  readonly address: string | { readonly address: string; readonly family: string; readonly port: number };
  readonly [field: string]: unknown;
}

test('IPv4', () => servesAcrossReload({ port: 0, host }, (rig) => ({ host, port: rig.port() })));

test('IPv6', { skip: withoutIpv6 }, () => servesAcrossReload({ port: 0, host: '::1' }, (rig) => ({ host: '::1', port: rig.port() })));

test('Without a host, both', { skip: withoutIpv6 }, async () => {
  await servesAcrossReload({ port: 0 }, (rig) => ({ host: '::1', port: rig.port() }));
  await servesAcrossReload({ port: 0 }, (rig) => ({ host, port: rig.port() }));
});

test('IPv6 only', { skip: withoutIpv6 }, async () => {
  using program = listens([{ port: 0, host: '::', ipv6Only: true }]);
  await using rig = await program.start();
  assert.equal((await ask(`http://[::1]:${rig.port()}`)).status, 200);
  await assert.rejects(ask(`http://127.0.0.1:${rig.port()}`), { code: 'ECONNREFUSED' });
});

test('Unix socket', async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'web.sock');
  await servesAcrossReload({ path }, () => ({ path }));
  assert.equal(existsSync(path), false, 'the path is removed at the stop');
});

test('Several listens on port 0 get the same ports again', async () => {
  await using rig = await startMaster({ script: 'several-ports.cjs' });
  const askAll = () => Promise.all([0, 1, 2].map(async (index) => (await ask(rig.url(index))).text));
  const [oldPid] = await rig.pids();
  assert.deepEqual(await askAll(), [`a ${oldPid}`, `b ${oldPid}`, `c ${oldPid}`]);
  await rig.hup();
  const [newPid] = await rig.pids();
  assert.deepEqual(await askAll(), [`a ${newPid}`, `b ${newPid}`, `c ${newPid}`]);
  assert.equal((await rig.status()).listeners.length, 3);
});

test('A server that closes and listens on port 0 again gets another port, and the master holds that alone', async () => {
  await using rig = await startMaster({ script: 'reopens-port.cjs' });
  const { text } = await ask(rig.url());
  const { first, again } = JSON.parse(text) as { first: number; again: number };
  assert.equal(again, rig.port());
  assert.notEqual(first, again);
  assert.equal((await rig.status()).listeners.length, 1);
});

test('A stale socket file is replaced', async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'web.sock');
  const killed = execFile(process.execPath, [
    '-e',
    `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`,
  ]);
  await new Promise((resolve) => killed.once('exit', resolve));
  assert.equal(statSync(path).isSocket(), true);
  await servesAcrossReload({ path }, () => ({ path }));
});

test('A listen whose answer is owed while the worker is admitted keeps the program alive', async () => {
  await using rig = await startMaster({ script: 'listens-again.cjs' });
  await rig.waitFor(() => rig.stdout.includes('all listen') || undefined, 'the last of its servers');
  assert.equal((await rig.pids()).length, 1);
});

test('A second server at the same address of one program gets EADDRINUSE', async () => {
  await using rig = await startMaster({ script: 'listens-twice.cjs' });
  const port = rig.port();
  const refused = { code: 'EADDRINUSE', syscall: 'listen', address: host, port };
  assert.deepEqual(JSON.parse((await ask(rig.url())).text), refused);
  await rig.hup();
  assert.deepEqual(JSON.parse((await ask(rig.url())).text), refused);
});

test('A socket path that somebody else has taken meanwhile is left to them', async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'web.sock');
  using program = listens([{ path }]);
  await using rig = await program.start();
  await using other = await listenElsewhere({ path: `${path}.new` });
  renameSync(`${path}.new`, path);
  await rig.stop();
  assert.equal(statSync(path).isSocket(), true);
  using wire = await dial({ path });
  assert.ok(other.listening && wire.socket.readable);
});

test('readableAll and writableAll', async () => {
  using folder = temporaryFolder();
  const [closed, open] = [join(folder.path, 'closed.sock'), join(folder.path, 'open.sock')];
  using program = listens([{ path: closed }, { path: open, readableAll: true, writableAll: true }]);
  await using rig = await program.start();
  assert.equal(statSync(open).mode & 0o666, 0o666);
  assert.notEqual(statSync(closed).mode & 0o666, 0o666);
  await rig.hup();
  assert.equal(statSync(open).mode & 0o666, 0o666);
});

for (const form of ['PORT', 'HOST:PORT', '[::1]:PORT', 'unix:PATH']) {
  test(`--listen ${form} is held from the start, and given to the program by name`, { skip: form.startsWith('[') ? withoutIpv6 : false }, async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, 'web.sock');
    const flag = { PORT: '0', 'HOST:PORT': `${host}:0`, '[::1]:PORT': '[::1]:0', 'unix:PATH': `unix:${path},mode=0660` }[form];
    await using rig = await startMaster({ script: 'listens-by-name.mjs', flags: ['--listen', `${flag},name=web`] });
    const target = form === 'unix:PATH' ? { path } : { host: form.startsWith('[') ? '::1' : host, port: rig.port() };
    const askIt = () => askPid(target);
    assert.equal(rig.addresses().length, 1);
    assert.deepEqual([await askIt()], await rig.pids());
    await rig.hup();
    assert.deepEqual([await askIt()], await rig.pids());
    if (form === 'unix:PATH') assert.equal(statSync(path).mode & 0o777, 0o660);
  });
}

test('--listen may be repeated, and a program that does not use one leaves it be', async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'spare.sock');
  const flags = ['--listen', `unix:${path}`, '--listen', `${host}:0,name=web`, '--listen', `${host}:0,name=other`];
  await using rig = await startMaster({ script: 'listens-by-name.mjs', flags });
  assert.equal(rig.addresses().length, 3);
  assert.deepEqual([Number((await ask(rig.url(1))).text)], await rig.pids());
  await rig.hup();
  assert.equal((await rig.status()).listeners.length, 3);
});

test('The backlog is the longest that was asked for, or what --backlog says', async () => {
  using program = listens([{ port: 0, host, backlog: 16 }]);
  await using rig = await program.start();
  assert.equal(backlogOf(rig.port()), 511);
  program.change([{ port: 0, host, backlog: 700 }]);
  await rig.hup();
  assert.equal(backlogOf(rig.port()), 700);
  program.change([{ port: 0, host, backlog: 16 }]);
  await rig.hup();
  assert.equal(backlogOf(rig.port()), 700);
  await using fixed = await program.start({ flags: ['--backlog', '99'] });
  assert.equal(backlogOf(fixed.port()), 99);
});

for (const where of [
  'every address',
  'one address',
  'a Unix socket',
  'a Unix socket, by a relative path',
  'a file that is no socket',
  'a folder that is not there',
]) {
  test(`A program that can't listen gets the error of Node itself: ${where}`, async () => {
    using folder = temporaryFolder();
    await using server = await listenElsewhere(
      where.includes('Unix') ? { path: join(folder.path, 'web.sock') } : { port: 0, host: where === 'one address' ? host : '::' },
    );
    const file = join(folder.path, 'file');
    writeFileSync(file, 'precious');
    const options: Record<string, ListenOptions> = {
      'every address': { port: portOf(server) },
      'one address': { port: portOf(server), host },
      'a Unix socket': { path: join(folder.path, 'web.sock') },
      'a Unix socket, by a relative path': { path: 'web.sock' },
      'a file that is no socket': { path: file },
      'a folder that is not there': { path: join(folder.path, 'missing', 'web.sock') },
    };
    using program = listens([options[where] as ListenOptions, { port: 0, host }]);
    const bare = program.runBare(folder.path);
    assert.match(String(bare['code']), /EADDRINUSE|EACCES/);
    await using rig = await program.start({ cwd: folder.path });
    const supervised = await program.until(rig, ({ what }) => what === 'error');
    assert.deepEqual({ ...supervised, pid: 0 }, { ...bare, pid: 0 });
    assert.equal(readFileSync(file, 'utf8'), 'precious');
  });
}

test('A port below 1024 is denied as Node denies it', { skip: nobody.reason }, async () => {
  using program = listens([{ port: 1 }]);
  const bare = nobody.run([fixture('listens.cjs'), program.file]);
  const flags = ['--name', 'denied', '--runtime-dir', dirname(program.file)];
  const supervised = nobody.run([join(root, 'bin/graceful-super.js'), 'start', fixture('listens.cjs'), ...flags, '--', program.file]);
  const [expected, told] = [bare, supervised].map(({ stdout }) => ({ ...(JSON.parse(stdout) as Told), pid: 0 }));
  assert.match(bare.stdout, /EACCES/);
  assert.deepEqual(told, expected);
});

test('An exclusive listen stays with the worker', async () => {
  using program = listens([
    { port: 0, host },
    { port: 0, host, exclusive: true },
  ]);
  await using rig = await program.start();
  assert.equal(rig.addresses().length, 1);
  const { address } = await program.until(rig, ({ index, what }) => index === 1 && what === 'listening');
  const url = `http://${host}:${(address as { port: number }).port}`;
  assert.equal((await ask(url)).status, 200);
  await rig.hup();
  await rig.until('worker-stopped');
  await assert.rejects(ask(url), { code: 'ECONNREFUSED' });
});

test('A listener outlives every worker: who connects meanwhile is served by the next one', async () => {
  using program = listens([{ port: 0, host }]);
  await using rig = await program.start({ flags: ['--backoff-min', '500ms'] });
  const [first = 0] = await rig.pids();
  process.kill(first, 'SIGKILL');
  await rig.until('worker-crashed');
  const [second = 0] = [Number((await ask(rig.url())).text)];
  assert.notEqual(second, first);
  rig.forget();
  process.kill(second, 'SIGKILL');
  await rig.until('restart-scheduled'); // for half a second there is nobody
  const wires = await Promise.all(Array.from({ length: 20 }, () => dial({ port: rig.port(), host })));
  for (const wire of wires) wire.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
  for (const wire of wires) assert.equal(await wire.end(), 'FIN');
  const [third] = await rig.pids();
  for (const wire of wires) assert.match(wire.text, new RegExp(`\r\n\r\n${third}$`));
});

test('A listener that the new code does not use is let go of, though the old code still finishes what it has from there', async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'old.sock');
  using program = listens([{ port: 0, host }, { path }]);
  await using rig = await program.start({ flags: ['--allow-address-change', '--ready-timeout', '1s'] });
  program.change([{ port: 0, host }]);
  using wire = await dial({ path });
  await poll(
    async () => (await rig.status()).workers[0]?.connections === 1,
    () => 'the connection was not accepted',
  );
  await rig.hup();
  const { listeners } = await rig.until('listeners-closed');
  assert.deepEqual(listeners, [`unix:${path}`]);
  assert.equal(existsSync(path), false);
  wire.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  assert.equal(await wire.end(), 'FIN');
  assert.match(wire.text, /^HTTP\/1.1 200 /);
  assert.equal((await rig.status()).listeners.length, 1);
});

test('A listener that only a rolled-back generation asked for is closed', async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'new.sock');
  using program = listens([{ port: 0, host }]);
  await using rig = await program.start({ flags: ['--probation', '10m'] });
  program.change([{ port: 0, host }, { path }]);
  rig.signal('SIGHUP');
  await rig.until('reload-probation');
  assert.equal((await ask('http://localhost', { socketPath: path })).status, 200);
  const [crashing = 0] = (await rig.status()).workers.filter(({ generation }) => generation === 2).map(({ pid }) => pid as number);
  process.kill(crashing, 'SIGKILL');
  const { outcome } = await rig.until('reload-finished', ({ generation }) => generation === 2);
  assert.equal(outcome, 'rolled-back');
  assert.deepEqual((await rig.until('listeners-closed'))['listeners'], [`unix:${path}`]);
  assert.equal(existsSync(path), false);
  assert.equal((await ask(rig.url())).status, 200);
});

/** `listens.cjs` with these options. */
function listens(options: readonly ListenOptions[]) {
  const folder = temporaryFolder();
  const file = join(folder.path, 'options.json');
  const change = (to: readonly ListenOptions[]) => writeFileSync(file, JSON.stringify(to));
  change(options);
  chmodSync(folder.path, 0o1777); // for nobody, as /tmp is
  const toldBy = (text: string): Told[] =>
    text
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Told);
  return {
    file,
    change,
    start: ({ flags = [], cwd }: { flags?: readonly string[]; cwd?: string } = {}) =>
      startMaster({ script: 'listens.cjs', args: [file], flags, ...(cwd === undefined ? {} : { cwd }) }),
    /** What the same program is told without a supervisor about its first listen. */
    runBare(cwd: string = folder.path): Told {
      writeFileSync(`${file}.first`, JSON.stringify((JSON.parse(readFileSync(file, 'utf8')) as unknown[]).slice(0, 1)));
      const text = execFileSync(process.execPath, [fixture('listens.cjs'), `${file}.first`], { cwd, encoding: 'utf8' });
      return toldBy(text)[0] as Told;
    },
    until: (rig: Rig, matches: (told: Told) => boolean): Promise<Told> => rig.waitFor(() => toldBy(rig.stdout).find(matches), 'a line of the program'),
    [Symbol.dispose]: () => folder[Symbol.dispose](),
  };
}

type Target = { readonly host: string; readonly port: number } | { readonly path: string };

async function askPid(target: Target): Promise<number> {
  const { text } =
    'path' in target
      ? await ask('http://localhost', { socketPath: target.path })
      : await ask(`http://${isIPv6(target.host) ? `[${target.host}]` : target.host}:${target.port}`);
  return Number(text);
}

async function servesAcrossReload(options: ListenOptions, at: (rig: Rig) => Target): Promise<void> {
  using program = listens([options]);
  await using rig = await program.start();
  const target = at(rig);
  const askIt = () => askPid(target);
  assert.deepEqual([await askIt()], await rig.pids());
  await rig.hup();
  assert.deepEqual([await askIt()], await rig.pids());
  assert.equal((await rig.stop()).code, 0);
}

async function listenElsewhere(options: ListenOptions): Promise<Server & AsyncDisposable> {
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(options, resolve));
  return Object.assign(server, { [Symbol.asyncDispose]: () => new Promise<void>((resolve) => void server.close(() => resolve())) });
}

function portOf(server: Server): number {
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : 0;
}

/** What the kernel says. */
function backlogOf(port: number): number {
  const line = execFileSync('ss', ['-ltnH', `sport = :${port}`], { encoding: 'utf8' });
  return Number(line.split(/\s+/)[2]);
}
