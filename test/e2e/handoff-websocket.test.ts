/** WebSockets of the ws library whose server opted in move to the new worker at a reload, and their clients can't tell. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { dialHttp } from '../helpers/http.ts';
import { kinds, overEach } from '../helpers/over-each.ts';
import { type LoggedEvent, type Rig, startMaster } from '../helpers/rig.ts';
import { dialWebSocket, maskedFrame, startTalk, type WebSocketWire } from '../helpers/web-socket.ts';

const script = 'counts-messages.mjs';
const perMessageDeflate = true;

overEach('Of 200 WebSockets over four reloads no message is lost, doubled or reordered either way, and none is opened anew', async (over) => {
  await using rig = await startMaster({ over, script });
  const wires = await Promise.all(Array.from({ length: 200 }, () => dialWebSocket(`${rig.url()}/?push`, { ca: rig.ca })));
  const talks = wires.map(startTalk);
  for (const generation of [1, 2, 3, 4]) {
    await Promise.all(talks.map((talk) => talk.answered(5)));
    await rig.hup();
    const { moved, closed, cut } = await drained(rig, generation);
    assert.deepEqual([moved, closed, cut], [{ [kinds[over].webSocket]: 200 }, {}, {}]);
  }
  await Promise.all(talks.map((talk) => talk.answered(5)));
  for (const talk of talks) assert.deepEqual(await talk.stop(), { mistakes: [], ended: undefined, generations: [1, 2, 3, 4, 5] });
});

overEach('A message of which a part has come is answered by the old worker, then the WebSocket moves', async (over) => {
  await using rig = await startMaster({ over, script });
  using fragmented = await greeted(rig);
  using halved = await greeted(rig);
  const frame = maskedFrame(1, 'frame');
  fragmented.socket.send('in two ', { fin: false });
  fragmented.socket.ping();
  halved.below.write(Buffer.concat([maskedFrame(9, ''), frame.subarray(0, 8)]));
  await Promise.all([fragmented, halved].map(({ socket }) => once(socket, 'pong'))); // so it has read what came before
  await rig.hup();
  assert.deepEqual(rig.all('worker-drained'), []);
  fragmented.socket.send('fragments');
  halved.below.write(frame.subarray(8));
  await fragmented.until(() => fragmented.texts.includes('1 1 in two fragments'));
  await halved.until(() => halved.texts.includes('1 1 frame'));
  assert.deepEqual((await drained(rig)).moved, { [kinds[over].webSocket]: 2 });
  for (const wire of [fragmented, halved]) assert.equal(await wire.ask('whole'), '2 2 whole');
});

overEach('Binary messages, pings and pongs work as before in the new worker', async (over) => {
  await using rig = await startMaster({ over, script });
  using wire = await greeted(rig);
  await moved(rig);
  const data = randomBytes(100_000);
  wire.socket.send(data);
  await wire.until(() => wire.blobs.length === 1);
  assert.deepEqual(wire.blobs, [data]);
  wire.socket.ping('how are you');
  assert.equal(String((await once(wire.socket, 'pong'))[0]), 'how are you');
  assert.equal(await wire.ask('ping'), 'ponged');
});

overEach('What it began with is known in the new worker: url, headers and subprotocol', async (over) => {
  await using rig = await startMaster({ over, script });
  using wire = await greeted(rig, '/room?a=b', { headers: { cookie: 'session=1' } }, ['other', 'chat']);
  await moved(rig);
  const expected = { label: 'server', generation: 2, url: '/room?a=b', cookie: 'session=1', protocol: 'chat', clients: 1 };
  assert.deepEqual(JSON.parse(await wire.ask('who')), expected);
});

overEach('The set of clients is right in both workers, and to the old one a moved WebSocket is closed, but handed off', async (over) => {
  await using rig = await startMaster({ over, script });
  using first = await greeted(rig);
  using second = await greeted(rig);
  assert.equal(JSON.parse(await first.ask('who')).clients, 2);
  await moved(rig, 2);
  await rig.waitFor(() => /handed off in 1, 1 left\nhanded off in 1, 0 left\n/.test(rig.stdout) || undefined, 'both closes in the old worker');
  assert.equal(JSON.parse(await first.ask('who')).clients, 2);
  first.socket.close();
  await rig.waitFor(() => rig.stdout.includes('\nclosed in 2, 1 left\n') || undefined, 'the close in the new worker');
  second.socket.send('shutdown'); // of the WebSocket server, which ends with its last client
  await second.ask('still there');
  second.socket.close();
  await rig.waitFor(() => rig.stdout.includes('server closed in 2\n') || undefined, 'the end of the server');
});

overEach('It works without client tracking', async (over) => {
  await using rig = await startMaster({ over, script, env: { OPTIONS: JSON.stringify({ clientTracking: false }) } });
  using wire = await greeted(rig);
  await moved(rig);
  assert.equal(JSON.parse(await wire.ask('who')).clients, null);
});

overEach('Two WebSocket servers fed by hand from one HTTP server are told apart by their paths', async (over) => {
  await using rig = await startMaster({ over, script, env: { PATHS: '/a /b' } });
  using a = await greeted(rig, '/a?x');
  using b = await greeted(rig, '/b');
  assert.equal(await b.ask('one'), '1 1 one');
  await moved(rig, 2);
  assert.deepEqual([JSON.parse(await a.ask('who')).label, JSON.parse(await b.ask('who')).label], ['/a', '/b']);
  assert.equal(await b.ask('two'), '2 2 two');
});

overEach('Two WebSocket servers on ports of their own are told apart by these', async (over) => {
  await using rig = await startMaster({ over, script, env: { PORTS: '2' } });
  using first = await greetedAt(rig.url(0), { ca: rig.ca });
  using second = await greetedAt(rig.url(1), { ca: rig.ca });
  const before = [JSON.parse(await first.ask('who')).label, JSON.parse(await second.ask('who')).label];
  assert.deepEqual([...before].sort(), [0, 1]);
  await moved(rig, 2);
  assert.deepEqual([JSON.parse(await first.ask('who')).label, JSON.parse(await second.ask('who')).label], before);
});

overEach('Two WebSocket servers that can not be told apart are a mistake, which the start tells', async (over) => {
  await using rig = await startMaster({ over, script, env: { PATHS: '/a /a' }, waitReady: false });
  assert.notEqual((await rig.until('reload-finished'))['outcome'], 'committed');
  const { code, stderr } = await rig.finished;
  assert.equal(code, 40);
  assert.match(stderr, /two WebSocket servers are called '\/a': give each a name of its own/);
});

overEach('An idle HTTP connection and a WebSocket of the same server both move', async (over) => {
  await using rig = await startMaster({ over, script });
  using wire = await dialHttp(rig);
  const request = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n';
  wire.write(request);
  await wire.until('\r\n\r\n1');
  using webSocket = await greeted(rig);
  await rig.hup();
  assert.deepEqual((await drained(rig)).moved, { [kinds[over].http]: 1, [kinds[over].webSocket]: 1 });
  wire.write(request);
  await wire.until('\r\n\r\n2');
  assert.equal(await webSocket.ask('one'), '1 2 one');
});

overEach('A WebSocket whose compression remembers earlier messages stays, and is closed with 1012 at the deadline', async (over) => {
  await using rig = await startMaster({ over, script, env: { OPTIONS: JSON.stringify({ perMessageDeflate }) }, flags: ['--drain-timeout', '1s'] });
  using wire = await greeted(rig, '/', { perMessageDeflate });
  assert.equal(wire.socket.extensions, 'permessage-deflate');
  await rig.hup();
  assert.equal(await wire.end(), 1012);
  assert.deepEqual((await drained(rig)).moved, {});
});

overEach('A WebSocket whose compression remembers nothing moves, and goes on compressing', async (over) => {
  const forgetful = { serverNoContextTakeover: true, clientNoContextTakeover: true, threshold: 0 };
  await using rig = await startMaster({ over, script, env: { OPTIONS: JSON.stringify({ perMessageDeflate: forgetful }) } });
  using wire = await greeted(rig, '/', { perMessageDeflate: forgetful });
  const text = 'x'.repeat(100_000);
  assert.equal(await wire.ask(text), `1 1 ${text}`);
  await moved(rig);
  const { bytesRead, bytesWritten } = wire.below;
  for (const number of [2, 3]) assert.equal(await wire.ask(text), `${number} 2 ${text}`);
  assert.ok(wire.below.bytesRead - bytesRead < 2_000, `${wire.below.bytesRead - bytesRead} bytes came`);
  assert.ok(wire.below.bytesWritten - bytesWritten < 2_000, `${wire.below.bytesWritten - bytesWritten} bytes went`);
});

overEach('New code whose adopt throws gives the WebSocket back, with its state', async (over) => {
  await using rig = await startMaster({ over, script, env: { FAILS_IN: '2' } });
  using wire = await greeted(rig);
  assert.equal(await wire.ask('one'), '1 1 one');
  await rig.hup();
  const { message } = await rig.until('worker-note');
  assert.match(message, /worker \d+: it failed to adopt: Error: it does not want to/);
  assert.equal(await wire.ask('two'), '2 1 two');
  assert.equal(JSON.parse(await wire.ask('who')).clients, 1);
  await rig.waitFor(() => rig.stdout.includes('handed off in 2, 0 left\n') || undefined, 'the close in the new worker'); // it lives on elsewhere
  wire.socket.close();
  assert.equal(await wire.end(), 1005);
});

overEach('A WebSocket that the program closes while it exports ends as the program wants it', async (over) => {
  await using rig = await startMaster({ over, script, env: { EXPORTS: 'closing' } });
  using wire = await greeted(rig);
  await rig.hup();
  assert.equal(await wire.end(), 4000);
  const { moved: byKind, closed } = await drained(rig);
  assert.deepEqual([byKind, closed], [{}, { [kinds[over].webSocket]: 1 }]);
  assert.match(rig.stdout, /^closed in 1, 0 left$/m);
});

overEach('A WebSocket whose request is too large to go with it stays, and the log says why', async (over) => {
  const flags = ['--node-arg=--max-http-header-size=800000', '--drain-timeout', '2s'];
  await using rig = await startMaster({ over, script, flags });
  using wire = await greeted(rig, '/', { headers: { cookie: 'x'.repeat(600_000) } });
  await rig.hup();
  const { message } = await rig.until('worker-note');
  assert.match(message, /can't be handed over: .* the limit is 524288/);
  assert.equal(await wire.ask('one'), '1 1 one');
  assert.equal(await wire.end(), 1012);
});

overEach('WebSockets of a server that did not opt in stay, and are closed with 1012 at the deadline', async (over) => {
  await using rig = await startMaster({ over, script: 'websocket-pid.cjs', flags: ['--drain-timeout', '1s'] });
  const [pid] = await rig.pids();
  using wire = await dialWebSocket(rig.url(), { ca: rig.ca });
  await rig.hup();
  assert.equal(await wire.ask('one'), `${pid} one`);
  assert.equal(await wire.end(), 1012);
  assert.deepEqual((await drained(rig)).moved, {});
});

async function greeted(rig: Rig, path = '/', options = {}, protocols: string[] = []): Promise<WebSocketWire> {
  return greetedAt(rig.url() + path, { ...options, ca: rig.ca }, protocols);
}

async function greetedAt(url: string, options = {}, protocols: string[] = []): Promise<WebSocketWire> {
  const wire = await dialWebSocket(url, options, protocols);
  await wire.until(() => wire.texts[0] === 'hello');
  return wire;
}

/** Reloads, and sees all WebSockets move. */
async function moved(rig: Rig, count = 1): Promise<void> {
  const over = rig.ca === undefined ? 'plaintext' : 'TLS';
  await rig.hup();
  const account = await drained(rig);
  assert.deepEqual([account['moved'], account['closed'], account['cut']], [{ [kinds[over].webSocket]: count }, {}, {}]);
}

function drained(rig: Rig, generation = 1): Promise<LoggedEvent> {
  return rig.until('worker-drained', (event) => event['generation'] === generation);
}
