/** The order of a drain, and what its clients see. */
import assert from 'node:assert/strict';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { asleep } from '../helpers/chaos.ts';
import { visit } from '../helpers/http.ts';
import { ask, poll, type Rig, startMaster, temporaryFolder } from '../helpers/rig.ts';
import { dial, dialTls, makeCertificate, type Wire } from '../helpers/wire.ts';

const host = '127.0.0.1';
/** What happens to connections that can't move is shown on plain HTTP, which could. */
const stay = ['--no-handoff'];
const forms = ['/', '/set-header', '/head-object', '/head-array', '/head-pairs'];

test('A keep-alive connection gets its answer from the draining worker, with Connection: close whatever the program sets', async () => {
  await using rig = await startMaster({ script: 'http-forms.cjs', flags: stay });
  const [oldPid] = await rig.pids();
  const wires = await Promise.all(forms.map(() => dialHttp(rig)));
  for (const [index, wire] of wires.entries()) {
    wire.write(get(forms[index] as string));
    await wire.until(`pid ${oldPid}`);
    assert.match(wire.text, /connection: keep-alive/i);
    wire.text = '';
  }
  await rig.hup();
  for (const [index, wire] of wires.entries()) {
    wire.write(get(forms[index] as string));
    assert.equal(await wire.end(), 'FIN');
    assert.deepEqual(wire.text.match(/^connection: .*$/gim), ['Connection: close'], forms[index]);
    assert.match(wire.text, new RegExp(`pid ${oldPid}`));
  }
  for (const wire of wires.slice(3)) assert.deepEqual(wire.text.match(/^set-cookie: .*$/gim), ['Set-Cookie: a=1', 'Set-Cookie: b=2']);
  assert.match(wires[4]?.text ?? '', /^X-Odd: 1\r\nX-Even: 2\r$/m);
  assert.match(wires[2]?.text ?? '', /^HTTP\/1.1 200 Fine\r$/m);
  const { closed, cut } = await rig.until('worker-drained');
  assert.deepEqual([closed, cut], [{ http: forms.length }, {}]);
});

test('A request under way is finished, a half-sent one answered', async () => {
  await using rig = await startMaster({ script: 'http-forms.cjs', flags: stay });
  const [oldPid] = await rig.pids();
  using body = await dialHttp(rig);
  using head = await dialHttp(rig);
  body.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf ');
  head.write('GET / HTTP/1.1\r\nHo');
  await connections(rig, 2);
  await rig.hup();
  body.write('sent.');
  head.write('st: x\r\n\r\n');
  assert.deepEqual([await body.end(), await head.end()], ['FIN', 'FIN']);
  for (const { text } of [body, head]) assert.match(text, new RegExp(`Connection: close\r\n[\\s\\S]*pid ${oldPid}`));
});

test('Idle connections are closed with FIN after the grace, on every server of the program', async () => {
  await using rig = await startMaster({ script: 'several-ports.cjs', flags: [...stay, '--idle-grace', '300ms'] });
  const used = await Promise.all([0, 1, 2].map((index) => dialHttp(rig, index)));
  const unused = await Promise.all([0, 1, 2].map((index) => dialHttp(rig, index)));
  for (const wire of used) {
    wire.write(get('/'));
    await wire.until(/\r\n\r\n[abc] \d+/);
  }
  await connections(rig, 6);
  await rig.hup();
  for (const wire of [...used, ...unused]) assert.equal(await wire.end(), 'FIN');
  const { closed, cut } = await rig.until('worker-drained');
  assert.deepEqual([closed, cut], [{ http: 6 }, {}]);
});

test('A connection that was never used is served if it speaks within the grace', async () => {
  await using rig = await startMaster({ script: 'http-forms.cjs', flags: stay });
  const [oldPid] = await rig.pids();
  using wire = await dialHttp(rig);
  await connections(rig, 1);
  await rig.hup();
  wire.write(get('/'));
  assert.equal(await wire.end(), 'FIN');
  assert.match(wire.text, new RegExp(`Connection: close\r\n[\\s\\S]*pid ${oldPid}`));
});

for (const path of ['/', '/at-once'])
  test(`A pipelined batch is answered whole, only its last answer says Connection: close: ${path}`, async () => {
    await using rig = await startMaster({ script: 'http-forms.cjs', flags: stay });
    const [oldPid] = await rig.pids();
    using wire = await dialHttp(rig);
    await connections(rig, 1);
    await rig.hup();
    wire.write(get(path).repeat(4));
    assert.equal(await wire.end(), 'FIN');
    assert.equal(wire.text.match(new RegExp(`pid ${oldPid}`, 'g'))?.length, 4);
    assert.deepEqual(wire.text.match(/^connection: .*$/gim), [
      'Connection: keep-alive',
      'Connection: keep-alive',
      'Connection: keep-alive',
      'Connection: close',
    ]);
  });

test('A client that goes on sending after the last answer has begun still gets all of it', async () => {
  await using rig = await startMaster({ script: 'http-forms.cjs', flags: stay });
  const wires = await Promise.all(Array.from({ length: 10 }, () => dialHttp(rig)));
  await connections(rig, wires.length);
  await rig.hup();
  for (const wire of wires) {
    wire.write(get('/large'));
    await wire.until('Connection: close');
    wire.write(get('/').repeat(5000));
  }
  for (const wire of wires) {
    assert.equal(await wire.end(), 'FIN');
    assert.equal(wire.text.split('\r\n\r\n')[1]?.length, 1_000_000);
  }
});

test('TLS: idle connections, unused ones, and those without a handshake are closed with FIN', async () => {
  using folder = temporaryFolder();
  const { ca, files } = makeCertificate(folder.path);
  await using rig = await startMaster({ script: 'http-forms.cjs', env: files, flags: ['--idle-grace', '300ms'] });
  using used = await dialTls({ port: rig.port(), ca });
  using unused = await dialTls({ port: rig.port(), ca });
  using silent = await dialHttp(rig);
  used.write(get('/'));
  await used.until(/pid \d+/);
  await connections(rig, 3);
  await rig.hup();
  assert.deepEqual([await used.end(), await unused.end(), await silent.end()], ['FIN', 'FIN', 'FIN']);
  const { closed, cut } = await rig.until('worker-drained');
  assert.deepEqual([closed, cut], [{ https: 2, tls: 1 }, {}]);
});

for (const kind of ['tcp', 'tls', 'unix']) {
  test(`What is still open at --drain-timeout is closed with FIN, and counted: ${kind}`, async () => {
    using folder = temporaryFolder();
    const { ca, files } = makeCertificate(folder.path);
    const path = join(folder.path, 'echo.sock');
    const env = kind === 'tls' ? files : kind === 'unix' ? { SOCKET: path } : {};
    await using rig = await startMaster({ script: 'tcp-echo.cjs', env, flags: ['--drain-timeout', '1s'] });
    using wire = kind === 'tls' ? await dialTls({ port: rig.port(), ca }) : kind === 'unix' ? await dial({ path }) : await dialHttp(rig);
    await wire.until(/pid \d+\n/);
    await rig.hup();
    wire.write('still there');
    await wire.until('still there');
    assert.equal(await wire.end(), 'FIN');
    const { closed, cut } = await rig.until('worker-drained');
    assert.deepEqual([closed, cut], [{}, { [kind]: 1 }]);
  });
}

test('What is still open at --drain-timeout is counted by kind: an answer without end, an upgraded connection', async () => {
  await using rig = await startMaster({ script: 'http-forms.cjs', flags: [...stay, '--drain-timeout', '1s', '--idle-grace', '0'] });
  using events = await dialHttp(rig);
  using upgraded = await dialHttp(rig);
  using idle = await dialHttp(rig);
  events.write(get('/events'));
  upgraded.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
  idle.write(get('/'));
  await Promise.all([events.until('data: begun'), upgraded.until('101 Switching'), idle.until(/pid \d+/)]);
  await rig.hup();
  upgraded.write('still there');
  await upgraded.until('still there');
  await Promise.all([events.end(), upgraded.end(), idle.end()]);
  const { closed, cut, level, message } = await rig.until('worker-drained');
  assert.deepEqual([closed, cut], [{ http: 1 }, { http: 1, upgraded: 1 }]);
  assert.equal(level, 'warn');
  assert.match(message, /cut: 1 http, 1 upgraded|cut: 1 upgraded, 1 http/);
});

test('A program that ignores SIGTERM is killed after --kill-timeout', async () => {
  await using rig = await startMaster({ script: 'ignores-sigterm.cjs', flags: ['--kill-timeout', '300ms'] });
  await rig.hup();
  const { exit, generation } = await rig.until('worker-stopped');
  assert.deepEqual([exit, generation], [{ reason: 'signal', signal: 'SIGKILL' }, 1]);
});

test("The program's own SIGTERM listeners run when its connections are gone, and its server closes without error", async () => {
  await using rig = await startMaster({ script: 'closes-on-sigterm.cjs' });
  const [oldPid] = await rig.pids();
  using wire = await dialHttp(rig);
  wire.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n');
  await connections(rig, 1);
  await rig.hup();
  assert.doesNotMatch(rig.stdout, /SIGTERM/);
  wire.write('body');
  assert.equal(await wire.end(), 'FIN');
  assert.match(wire.text, new RegExp(`${oldPid}$`));
  await rig.until('worker-stopped', ({ exit }) => (exit as { code?: number }).code === 0);
  assert.equal(rig.stdout, 'SIGTERM with 0 connections\nclosed with undefined\n');
});

test('While it drains, a server believes that it listens as before', async () => {
  await using rig = await startMaster({ script: 'http-forms.cjs' });
  using wire = await dialHttp(rig);
  await connections(rig, 1);
  await rig.hup();
  wire.write(get('/state'));
  await wire.end();
  assert.deepEqual(JSON.parse(wire.text.split('\r\n\r\n')[1] ?? ''), {
    listening: true,
    address: { address: host, family: 'IPv4', port: rig.port() },
  });
});

test('TERM to a worker drains it, and it is replaced; a second one hurries', async () => {
  await using rig = await startMaster({ script: 'tcp-echo.cjs' });
  const [oldPid = 0] = await rig.pids();
  using wire = await dialHttp(rig);
  await wire.until(/pid \d+\n/);
  rig.forget();
  process.kill(oldPid, 'SIGTERM');
  const { byItself } = await rig.until('worker-draining');
  assert.equal(byItself, true);
  await rig.until('worker-serving');
  wire.write('still there');
  await wire.until('still there');
  using other = await dialHttp(rig);
  await other.until(/pid \d+\n/);
  assert.deepEqual(await rig.pids(), [Number(/\d+/.exec(other.text)?.[0])]);
  process.kill(oldPid, 'SIGTERM');
  assert.equal(await wire.end(), 'FIN');
  const { exit } = await rig.until('worker-stopped');
  assert.deepEqual(exit, { reason: 'signal', signal: 'SIGTERM' }, 'as a process ends that has no listener for it');
});

test('TERM to a worker: before it knows who goes on, no answer ends a connection or drops what was pipelined; then it moves', async () => {
  using folder = temporaryFolder();
  const hold = join(folder.path, 'hold');
  writeFileSync(hold, '');
  await using rig = await startMaster({ script: 'tells-drain.mjs', env: { HOLD: hold } });
  const [old] = (await rig.pids()) as [number];
  using wire = await dialHttp(rig);
  wire.write(get('/held') + get('/held'));
  using other = await dialHttp(rig);
  await visit(other); // what was sent before is being served
  using master = asleep(rig.pid);
  process.kill(old, 'SIGTERM');
  await rig.waitFor(() => rig.stdout.includes(`drains ${old}`) || undefined, 'the drain');
  rmSync(hold);
  await wire.until(({ text }) => text.match(/pid \d+/g)?.length === 2);
  assert.doesNotMatch(wire.text, /^connection: close/im);
  master.wake();
  const { moved } = await rig.until('worker-drained');
  assert.deepEqual(moved, { http: 2 });
  assert.equal(await visit(wire), `pid ${(await rig.pids())[0]}`);
});

test('TERM to a worker whose master says nothing: a moment later its answers end connections', async () => {
  await using rig = await startMaster({ script: 'tells-drain.mjs' });
  const [old] = (await rig.pids()) as [number];
  using wire = await dialHttp(rig);
  await visit(wire);
  using master = asleep(rig.pid);
  process.kill(old, 'SIGTERM');
  await rig.waitFor(() => rig.stdout.includes(`drains ${old}`) || undefined, 'the drain');
  while (wire.ended === undefined && !/^connection: close/im.test(wire.text)) await visit(wire);
  assert.equal(await wire.end(), 'FIN');
  master.wake();
});

test('A program that lets go of its master drains, and is replaced', async () => {
  await using rig = await startMaster({ script: 'http-forms.cjs' });
  const [oldPid] = await rig.pids();
  rig.forget();
  assert.equal((await ask(`${rig.url()}/disconnect`)).text, `pid ${oldPid}`);
  await rig.until('worker-serving');
  const [newPid] = await rig.pids();
  assert.notEqual(newPid, oldPid);
  assert.equal((await ask(rig.url())).text, `pid ${newPid}`);
  await rig.until('worker-stopped', ({ pid }) => pid === oldPid);
});

test('A worker whose master was killed accepts no more, finishes, and leaves nothing', async () => {
  using folder = temporaryFolder();
  const [path, pidFile] = [join(folder.path, 'listener.sock'), join(folder.path, 'master.pid')];
  await using rig = await startMaster({ script: 'http-forms.cjs', flags: ['--listen', `unix:${path}`, '--pid-file', pidFile] });
  await poll(
    () => existsSync(pidFile),
    () => 'there is no pid file',
  );
  const [oldPid] = await rig.pids();
  const port = rig.port(1);
  using wire = await dial({ port, host });
  wire.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n');
  await connections(rig, 1);
  const killed = new Promise((resolve) => rig.child.once('exit', resolve));
  rig.signal('SIGKILL');
  await killed;
  await poll(
    () => isRefused(port),
    () => 'the worker still accepts',
  );
  wire.write('body');
  assert.equal(await wire.end(), 'FIN');
  assert.match(wire.text, new RegExp(`pid ${oldPid}$`));
  await rig.gone();
  assert.deepEqual([existsSync(path), existsSync(pidFile)], [false, false]);
  await using next = await startMaster({ script: 'http-forms.cjs', flags: ['--listen', `${host}:${port}`, '--listen', `unix:${path}`] });
  assert.equal(next.port(), port);
});

test('Above --max-draining the oldest generation is cut', async () => {
  await using rig = await startMaster({ script: 'tcp-echo.cjs', flags: ['--max-draining', '1'] });
  using first = await dialHttp(rig);
  await first.until(/pid/);
  await rig.hup();
  using second = await dialHttp(rig);
  await second.until(/pid/);
  await rig.hup();
  const cut = await rig.until('generation-cut');
  assert.deepEqual([cut['generation'], cut['maxDraining'], cut.level], [1, 1, 'warn']);
  assert.equal(await first.end(), 'FIN');
  second.write('still there');
  await second.until('still there');
});

function dialHttp(rig: Rig, index = 0): Promise<Wire> {
  return dial({ port: rig.port(index), host, noDelay: true });
}

/** Waits until the workers have accepted so many connections. */
function connections(rig: Rig, wanted: number): Promise<void> {
  return poll(
    async () => (await rig.status()).workers.reduce((sum, worker) => sum + (worker.connections ?? 0), 0) === wanted,
    () => `there are not ${wanted} connections`,
  );
}

function get(path: string): string {
  return `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`;
}

function isRefused(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host }, () => {
      socket.destroy();
      resolve(false);
    });
    socket.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code === 'ECONNREFUSED'));
  });
}
