/** HTTP/2 sessions live on across reloads: one moves when no stream is open, with all that its two ends know of each other. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Settings } from 'node:http2';
import { test } from 'node:test';
import { type Exchange, Http2Client } from '../helpers/http2-crowd.ts';
import { dialHttp2, type Frame, type Http2Wire, type as kinds } from '../helpers/http2-wire.ts';
import { poll, type Rig, startMaster } from '../helpers/rig.ts';

const script = 'http2-echo.cjs';
/** Small ones, and those that take more than a window either way. */
const exchanges: readonly Exchange[] = [{}, { body: 2_000 }, { size: 3_000 }, { body: 200_000 }, { size: 200_000 }, { body: 90_000, size: 90_000 }];

function faultsOf(clients: readonly Http2Client[]): string[] {
  return clients.flatMap(({ faults }) => faults);
}

/** What became of the connections at a reload. */
async function moved(rig: Rig): Promise<unknown> {
  const { moved: moves, closed, cut } = (await rig.hup())['connections'] as Record<string, object>;
  return { ...moves, ...closed, ...cut };
}

/** One that acknowledges what it is told, as any does. */
async function dialObedient(rig: Rig): Promise<{ readonly wire: Http2Wire; stop(): void } & Disposable> {
  const wire = await dialHttp2(rig.port());
  let seen = 0;
  const obey = () => {
    for (const frame of wire.frames.slice(seen)) if (frame.type === kinds.ping && frame.flags === 0) wire.acknowledge(frame);
    const told = wire.frames.slice(seen).filter(({ type, flags }) => type === kinds.settings && flags === 0);
    if (seen > 0) for (const _ of told) wire.send(kinds.settings, 1, 0);
    seen = wire.frames.length;
  };
  const timer = setInterval(obey, 1);
  const stop = () => clearInterval(timer);
  return {
    wire,
    stop,
    [Symbol.dispose]() {
      stop();
      wire[Symbol.dispose]();
    },
  };
}

test('An idle session goes on in the next worker, and in the one after that, whatever it has carried', async () => {
  await using rig = await startMaster({ script });
  using client = new Http2Client(rig.url());
  for (let reload = 0; reload < 3; reload++) {
    for (const exchange of exchanges) await client.ask(exchange);
    assert.deepEqual(await moved(rig), { http2: 1 });
  }
  const [serving] = await rig.pids();
  assert.deepEqual(
    await Promise.all(exchanges.map((exchange) => client.ask(exchange))),
    exchanges.map(() => serving),
  );
  assert.deepEqual(client.faults, []);
});

test('Sessions that ask for the next thing as soon as they have the last one move between two streams', async () => {
  await using rig = await startMaster({ script, flags: ['--drain-timeout', '60s'] });
  const clients = Array.from({ length: 9 }, () => new Http2Client(rig.url()));
  const ends = clients.map((client, index) => client.goOn(1 + (index % 2), exchanges.slice(0, 3), 4 * (index % 3)));
  const [old] = await rig.pids();
  await rig.hup();
  const drained = await rig.until('worker-drained', ({ pid }) => pid === old);
  await Promise.all(ends.map((end) => end()));
  assert.deepEqual([faultsOf(clients), drained['moved'], drained['closed']], [[], { http2: 9 }, {}]);
  for (const client of clients) client[Symbol.dispose]();
});

test('To the client nothing happens: streams go on by number, late frames of old ones are no fault, a PING is answered', async () => {
  await using rig = await startMaster({ script: 'http2-pid.cjs' });
  using client = await dialObedient(rig);
  const { wire } = client;
  const [old] = await rig.pids();
  for (const stream of [1, 3]) wire.get(stream);
  assert.equal(await wire.answer(3), `begun ${old}`);
  assert.deepEqual(await moved(rig), { http2: 1 });
  wire.send(3, 0, 3, Buffer.alloc(4)); // RST_STREAM
  wire.send(8, 0, 1, Buffer.from([0, 0, 0, 9])); // WINDOW_UPDATE
  wire.send(2, 0, 3, Buffer.from([0, 0, 0, 0, 9])); // PRIORITY
  wire.send(kinds.ping, 0, 0, Buffer.from('12345678'));
  await wire.until(({ type, payload }) => type === kinds.ping && payload.toString() === '12345678');
  wire.send(kinds.headers, 5, 5, Buffer.from([0x20, 0x82, 0x86, 0x84, 0x41, 1, 0x78])); // its table has been emptied
  const [serving] = await rig.pids();
  assert.equal(await wire.answer(5), `begun ${serving}`);
  assert.deepEqual(
    wire.frames.filter(({ type }) => type === kinds.goaway),
    [],
  );
});

test('A stream that was never opened is still one: garbage after a move ends that session alone, with the reason', async () => {
  await using rig = await startMaster({ script: 'http2-pid.cjs' });
  using client = await dialObedient(rig);
  using other = new Http2Client(rig.url());
  const { wire } = client;
  wire.get(1);
  await wire.answer(1);
  assert.deepEqual(await moved(rig), { http2: 2 });
  wire.send(kinds.data, 0, 7, Buffer.from('x')); // of an idle stream
  const { payload } = await wire.until(({ type }) => type === kinds.goaway);
  assert.deepEqual([payload.readUInt32BE(0), payload.readUInt32BE(4)], [1, 1], 'the last stream, PROTOCOL_ERROR');
  assert.deepEqual(other.faults, []);
});

test('A peer that acknowledges nothing stays, and its session ends gracefully', async () => {
  await using rig = await startMaster({ script: 'http2-pid.cjs', flags: ['--drain-timeout', '60s'] });
  using wire = await dialHttp2(rig.port());
  wire.get(1);
  await wire.answer(1);
  await rig.hup();
  const isNotice = ({ type, payload }: Frame) => type === kinds.goaway && payload.readUInt32BE(0) === 2 ** 31 - 1;
  await wire.until(isNotice);
  assert.equal(await wire.end(), 'FIN');
  assert.deepEqual((await rig.until('worker-drained'))['closed'], { http2: 1 });
});

test('Settings of the new code are told when they differ, and those of before hold until then', async () => {
  await using rig = await startMaster({ script: 'http2-settings.cjs' });
  const client = connect(rig.url());
  const told: Settings[] = [];
  client.on('remoteSettings', (settings) => told.push(settings));
  await once(client, 'remoteSettings');
  assert.equal(told.at(-1)?.initialWindowSize, 70_001);
  await rig.hup();
  await poll(
    () => told.at(-1)?.initialWindowSize === 70_002,
    () => `told: ${JSON.stringify(told)}`,
  );
  assert.deepEqual([told.at(-1)?.headerTableSize, client.state.remoteWindowSize], [4_096, 65_535]);
  client.destroy();
});

test('A program that exports the state of a session gets it back in the next worker, and knows both sessions', async () => {
  await using rig = await startMaster({ script: 'http2-state.mjs' });
  const client = connect(rig.url());
  const count = async () => {
    const stream = client.request();
    let text = '';
    for await (const bytes of stream) text += bytes;
    return Number(text);
  };
  assert.deepEqual([await count(), await count()], [1, 2]);
  await rig.hup();
  assert.equal(await count(), 3);
  await rig.waitFor(() => rig.stdout.includes('handed off') || undefined, 'the close of a session that was handed off');
  client.destroy();
});

test('A session that nobody takes goes on where it was, and ends gracefully', async () => {
  await using rig = await startMaster({ script: 'http2-state.mjs', env: { REFUSES: '1' }, flags: ['--drain-timeout', '60s'] });
  const client = connect(rig.url());
  const goaway = once(client, 'goaway');
  const close = once(client, 'close');
  const streams = [client.request(), client.request()];
  for (const stream of streams) await once(stream.resume(), 'end');
  await rig.hup();
  const [code] = await goaway;
  assert.equal(code, 0);
  await close;
  assert.deepEqual((await rig.until('worker-drained'))['closed'], { http2: 1 });
});
