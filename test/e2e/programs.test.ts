/** Unmodified programs: each starts, serves, is reloaded without losing a request, and leaves nothing. */
import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import { readFileSync, writeFileSync } from 'node:fs';
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2';
import { request as requestTls } from 'node:https';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { WebSocket } from 'ws';
import { ask, fixture, poll, type Rig, root, runtimeOf, startMaster, temporaryFolder } from '../helpers/rig.ts';
import { dial, dialTls, makeCertificate } from '../helpers/wire.ts';

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
const runsTypeScript = major > 23 || (major === 23 && minor >= 6) || (major === 22 && minor >= 18);

test('A CommonJS program', () => survivesReload('http-echo.cjs', async (rig) => (JSON.parse((await ask(rig.url())).text) as { pid: number }).pid));

test('An ES module', () => survivesReload('answers-pid.mjs', askPid));

test('A module loaded before the program that forks a child, which takes itself for no worker', async () => {
  await using rig = await startMaster({ script: 'answers-pid.mjs', flags: ['--node-arg=--require', `--node-arg=${fixture('forks-in-preload.cjs')}`] });
  const child = await rig.waitFor(() => /^child (\d+)$/m.exec(rig.stdout)?.[1], 'the child');
  assert.notEqual(Number(child), (await rig.pids())[0]);
  await poll(
    () => !rig.processes().includes(Number(child)),
    () => 'the child does not end',
  );
  await reload(rig, askPid);
});

test('Express', () => survivesReload('express-pid.cjs', askPid));

test('Fastify, whose own SIGTERM handler closes it', async () => {
  await using rig = await startMaster({ script: 'fastify-pid.mjs', flags: ['--idle-grace', '100ms'] });
  const [oldPid] = await rig.pids();
  using wire = await dial({ port: rig.port(), host: '127.0.0.1' });
  wire.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  await wire.until(String(oldPid));
  await reload(rig, askPid);
  wire.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n'); // a keep-alive client of the old worker is answered, and not with 503
  await wire.until(/200 OK[\s\S]*200 OK/);
  assert.doesNotMatch(wire.text, /HTTP\/1\.1 503/);
  await rig.waitFor(() => rig.stdout.includes(`app closed ${oldPid}`) || undefined, 'app.close() of the old worker');
  assert.equal((await rig.stop()).code, 0);
});

test('HTTPS', async () => {
  using folder = temporaryFolder();
  const { ca, files } = makeCertificate(folder.path);
  const askTls = async (rig: Rig) => (await askHttps(rig.port(), ca)).pid;
  await survivesReload('https-pid.cjs', askTls, files);
});

test('A TLS session is resumed across a reload: the ticket keys are shared', async () => {
  using folder = temporaryFolder();
  const { ca, files } = makeCertificate(folder.path);
  await using rig = await startMaster({ script: 'https-pid.cjs', env: files });
  const session = await takeSession(rig.port(), ca);
  const [oldPid] = await rig.pids();
  await rig.hup();
  const { pid, resumed } = await askHttps(rig.port(), ca, session);
  assert.notEqual(pid, oldPid);
  assert.equal(resumed, true);
});

for (const kind of ['clear', 'encrypted', 'encrypted, HTTP/1.1 allowed']) {
  test(`HTTP/2, ${kind}: a stream in flight goes on, the session ends with GOAWAY`, async () => {
    using folder = temporaryFolder();
    const { ca, files } = makeCertificate(folder.path);
    const isClear = kind === 'clear';
    const env = { ...(isClear ? {} : files), HTTP1: kind.includes('allowed') ? '1' : '0' };
    await using rig = await startMaster({ script: 'http2-pid.cjs', env, flags: ['--no-handoff'] }); // it would move otherwise
    const url = `${isClear ? 'http' : 'https'}://localhost:${rig.port()}`;
    const [oldPid] = await rig.pids();
    const old = openSession(url, ca);
    const stream = old.session.request({ ':method': 'POST' });
    const answer = bodyOf(stream);
    await new Promise((resolve) => stream.once('response', resolve));
    await reload(rig, async () => {
      const { session } = openSession(url, ca);
      const request = session.request();
      const text = await bodyOf(request);
      session.close();
      return Number(text.replace('begun ', ''));
    });
    stream.end('the rest');
    assert.equal(await answer, `begun ${oldPid}`);
    await old.closed;
    assert.deepEqual(old.errors, []);
    assert.ok(old.goaways.length > 0 && old.goaways.every((code) => code === 0));
    const { closed, cut } = await rig.until('worker-drained');
    assert.deepEqual([closed, cut], [{ http2: 1 }, {}]);
  });
}

test('HTTP/1.1 on an HTTP/2 server', async () => {
  using folder = temporaryFolder();
  const { ca, files } = makeCertificate(folder.path);
  await using rig = await startMaster({ script: 'http2-pid.cjs', env: { ...files, HTTP1: '1' }, flags: ['--idle-grace', '100ms'] });
  using wire = await dialTls({ port: rig.port(), ca });
  wire.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  await wire.until('0\r\n\r\n');
  await rig.hup();
  assert.equal(await wire.end(), 'FIN');
  const { closed, cut } = await rig.until('worker-drained');
  assert.deepEqual([closed, cut], [{ https: 1 }, {}]);
});

test('A WebSocket stays with the old worker, and is closed with 1012 when the drain ends', async () => {
  await using rig = await startMaster({ script: 'websocket-pid.cjs', flags: ['--drain-timeout', '2s'] });
  const [oldPid] = await rig.pids();
  const socket = new WebSocket(rig.url().replace('http', 'ws'));
  const closed = new Promise<[number, string]>((resolve) => socket.once('close', (code, reason) => resolve([code, reason.toString()])));
  await new Promise((resolve) => socket.once('open', resolve));
  assert.equal(await say(socket, 'before'), `${oldPid} before`);
  await rig.hup();
  assert.equal(await say(socket, 'after'), `${oldPid} after`);
  const other = new WebSocket(rig.url().replace('http', 'ws'));
  await new Promise((resolve) => other.once('open', resolve));
  const [newPid] = await rig.pids();
  assert.equal(await say(other, 'new'), `${newPid} new`);
  other.close();
  assert.deepEqual(await closed, [1012, 'service restart']);
  await rig.until('worker-stopped');
});

test('Raw TCP', () =>
  survivesReload('tcp-echo.cjs', async (rig) => {
    using wire = await dial({ port: rig.port(), host: '127.0.0.1' });
    await wire.until(/pid \d+\n/);
    return Number(/\d+/.exec(wire.text)?.[0]);
  }));

test('TypeScript', { skip: runsTypeScript ? false : `Node ${process.version} does not run TypeScript` }, () => survivesReload('typed.ts', askPid));

test('TypeScript on a Node that does not run it: the start fails and says why', {
  skip: runsTypeScript ? `Node ${process.version} runs TypeScript` : false,
}, async () => {
  await using rig = await startMaster({ script: 'typed.ts', waitReady: false });
  const { code, stderr } = await rig.finished;
  assert.equal(code, 40);
  assert.match(stderr, /start failed: worker 1 .*Unknown file extension \\?"\.ts\\?"/);
});

test('process.send("ready") with --wait-ready, as PM2 has it', async () => {
  using folder = temporaryFolder();
  const file = join(folder.path, 'go');
  writeFileSync(file, '');
  await using rig = await startMaster({ script: 'pm2-ready.cjs', args: [file], flags: ['--wait-ready'] });
  await reload(rig, askPid);
});

test('A child that the program forks is its own', async () => {
  await using rig = await startMaster({ script: 'forks-child.cjs' });
  const { own, child } = JSON.parse((await ask(rig.url())).text) as Record<'own' | 'child', Record<string, unknown>>;
  const variables = ['GRACEFUL_SUPER_WORKER_INDEX'];
  assert.deepEqual({ execArgv: own?.['execArgv'], variables: own?.['variables'] }, { execArgv: [], variables });
  const { pid, ...traces } = child as { pid: number };
  assert.deepEqual(traces, { execArgv: [], variables, preloaded: [], isPrimary: true });
  await rig.stop();
  await poll(
    () => !rig.processes().includes(pid),
    () => 'the child outlives its parent',
  );
});

test('In a thread: a fixed port fails clearly, port 0 and exclusive work', async () => {
  await using rig = await startMaster({ script: 'listens-in-thread.cjs' });
  const [fixed, ...others] = JSON.parse((await ask(rig.url())).text) as { code: string; message: string }[];
  assert.equal(fixed?.code, 'ERR_LISTEN_IN_THREAD');
  assert.match(fixed?.message ?? '', /cannot listen on 127\.0\.0\.1:1 in a worker thread/);
  assert.deepEqual(others, [{ code: 'listening' }, { code: 'listening' }, []]);
});

test('UDP is the business of the program', async () => {
  await using rig = await startMaster({ script: 'udp-echo.cjs' });
  await reload(rig, async () => {
    const socket = dgram.createSocket('udp4');
    const answer = new Promise<string>((resolve) => socket.once('message', (message) => resolve(message.toString())));
    socket.send('hello', Number((await ask(rig.url())).text), '127.0.0.1');
    const text = await answer;
    socket.close();
    return Number(text.replace(' hello', ''));
  });
});

/** Starts, serves, is reloaded, serves by a new process, stops. */
async function survivesReload(script: string, askWho: (rig: Rig) => Promise<number>, env: NodeJS.ProcessEnv = {}): Promise<void> {
  await using rig = await startMaster({ script, env });
  await reload(rig, askWho);
  assert.equal((await rig.stop()).code, 0);
}

async function reload(rig: Rig, askWho: (rig: Rig) => Promise<number>): Promise<void> {
  const [oldPid] = await rig.pids();
  assert.equal(await askWho(rig), oldPid);
  const { outcome } = await rig.hup();
  assert.equal(outcome, 'committed');
  const [newPid, ...others] = await rig.pids();
  assert.deepEqual(others, []);
  assert.notEqual(newPid, oldPid);
  assert.equal(await askWho(rig), newPid);
}

async function askPid(rig: Rig): Promise<number> {
  const { status, text } = await ask(rig.url());
  assert.equal(status, 200);
  return Number(text);
}

function askHttps(port: number, ca: string, session?: Buffer): Promise<{ pid: number; resumed: boolean }> {
  return new Promise((resolve, reject) => {
    const options = { port, ca, host: '127.0.0.1', servername: 'localhost', agent: false, ...(session === undefined ? {} : { session }) };
    const sent = requestTls(options, async (response) => {
      let text = '';
      for await (const chunk of response) text += chunk;
      resolve(JSON.parse(text) as { pid: number; resumed: boolean });
    });
    sent.once('error', reject);
    sent.end();
  });
}

/** The session ticket of a new connection. */
function takeSession(port: number, ca: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({ port, ca, host: '127.0.0.1', servername: 'localhost' });
    socket.once('error', reject);
    socket.once('session', (session: Buffer) => {
      socket.destroy();
      resolve(session);
    });
    socket.resume();
  });
}

test('A stack that passes through the runtime has a line a frame, with names, and each shows a line of code that fits on a screen', async () => {
  await using rig = await startMaster({ script: 'tells-stack-in-drain.mjs' });
  const code = readFileSync(runtimeOf(rig) as string, 'utf8').split('\n');
  await rig.stop();
  const [, ...frames] = rig.stdout.slice(0, rig.stdout.indexOf('\n.')).split('\n');
  const ours = frames.map((frame) => / {4}at (?:\S+ )*\(?\S*\/graceful-super-worker-\d+\.cjs:(\d+):\d+\)?$/.exec(frame)).filter((found) => found !== null);
  assert.ok(ours.length > 3, rig.stdout);
  assert.ok(
    frames.some((frame) => frame.includes('at obey (')),
    rig.stdout,
  );
  for (const [frame, line] of ours) {
    const shown = code[Number(line) - 1];
    assert.ok(shown && shown.length <= 200, `${frame}: ${shown}`);
  }
});

interface Observed {
  readonly session: ClientHttp2Session;
  readonly goaways: number[];
  readonly errors: Error[];
  readonly closed: Promise<void>;
}

function openSession(url: string, ca: string): Observed {
  const session = connect(url, { ca });
  const goaways: number[] = [];
  const errors: Error[] = [];
  session.on('goaway', (code) => goaways.push(code));
  session.on('error', (error) => errors.push(error));
  return { session, goaways, errors, closed: new Promise((resolve) => session.once('close', resolve)) };
}

async function bodyOf(stream: ClientHttp2Stream): Promise<string> {
  let text = '';
  for await (const chunk of stream.setEncoding('utf8')) text += chunk;
  return text;
}

function say(socket: WebSocket, text: string): Promise<string> {
  return new Promise((resolve) => {
    socket.once('message', (message) => resolve(message.toString()));
    socket.send(text);
  });
}

test("A program that is started by tsx's own command is reloaded like any other", async () => {
  await using rig = await startMaster({ script: join(root, 'node_modules/.bin/tsx'), args: [fixture('typed.ts')] });
  const before = await ask(rig.url());
  assert.equal((await rig.hup())['outcome'], 'committed');
  const after = await ask(rig.url());
  assert.deepEqual([before.status, after.status], [200, 200]);
  assert.notEqual(after.text, before.text, 'another process answers');
});
