/** HTTP/2 sessions move between servers of one process, with real sockets and Node's client. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2, { type ClientHttp2Session, type Http2Server, type ServerHttp2Session, type Settings } from 'node:http2';
import net, { type AddressInfo } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import { lend, receive } from '../../../../src/node/connection.ts';
import { noteSession, socketOf } from '../../../../src/node/http2.ts';
import { onMistake } from '../../../../src/worker/guard.ts';
import { http2Carrier } from '../../../../src/worker/handoff/http2/carrier.ts';
import { preface, settingsAcknowledged, settingsFrame } from '../../../../src/worker/handoff/http2/frames.ts';
import { mayLeave, watchSession } from '../../../../src/worker/handoff/http2/watch.ts';

const mistakes: string[] = [];
onMistake((text) => mistakes.push(text));

/** Has the session that came last. */
interface Station {
  readonly server: Http2Server;
  session: ServerHttp2Session | undefined;
}

async function open(settings: Settings = {}): Promise<Station> {
  const station: Station = { server: http2.createServer({ settings }), session: undefined };
  station.server.on('session', (session) => {
    noteSession(session);
    station.session = session;
  });
  station.server.on('stream', (stream, headers) => {
    stream.on('error', () => {});
    stream.resume().on('end', () => {
      stream.respond();
      stream.end(Buffer.alloc(Number(headers['x-size'] ?? 0)));
    });
  });
  station.server.listen(0, '127.0.0.1');
  await once(station.server, 'listening');
  return station;
}

function portOf({ server }: Station): number {
  return (server.address() as AddressInfo).port;
}

async function ask(client: ClientHttp2Session, body: number, size: number): Promise<void> {
  const stream = client.request({ ':method': 'POST', 'x-size': String(size), 'x-more': 'something to be compressed' });
  stream.end(Buffer.alloc(body));
  let received = 0;
  stream.on('data', (bytes: Buffer) => {
    received += bytes.length;
  });
  await once(stream, 'close');
  assert.equal(received, size);
}

/** Resolves at a moment at which the session may leave. */
function quiet(session: ServerHttp2Session): Promise<void> {
  return new Promise((resolve) => {
    const look = () => {
      watchSession(session, false, done);
      if (mayLeave(session)) done();
    };
    const timer = setInterval(look, 5);
    const done = () => {
      clearInterval(timer);
      resolve();
    };
    look();
  });
}

/** Moves the session of one server to the other, which may be the same. */
async function move(from: Station, to: Station): Promise<void> {
  const session = from.session as ServerHttp2Session;
  await quiet(session);
  assert.ok(mayLeave(session));
  const departure = { server: from.server, socket: socketOf(session) as net.Socket, options: {} };
  const baggage = JSON.parse(JSON.stringify(http2Carrier.pack(departure)));
  http2Carrier.letGo?.(departure);
  const loan = lend(departure.socket, false);
  const arrival = receive(to.server, loan.handle);
  assert.ok(arrival);
  const came = once(to.server, 'session');
  http2Carrier.adopt({ server: to.server, arrival: { ...arrival, settle() {}, withdraw() {} }, baggage, state: undefined, options: {} });
  loan.end();
  await came;
}

/** All that was under way has come: each has acknowledged a PING of the other. */
async function settle(client: ClientHttp2Session, { session }: Station): Promise<void> {
  await new Promise((resolve) => client.ping(resolve));
  await new Promise((resolve) => session?.ping(resolve));
  await new Promise((resolve) => client.ping(resolve));
}

test('Whatever a session has carried, and however often it moved, its two ends agree on their windows', async () => {
  const size = fc.constantFrom(0, 1, 100, 16_384, 40_000, 65_535, 65_536, 150_000);
  const step = fc.record({ body: size, size, moves: fc.nat(2) });
  const settings = fc.record({ initialWindowSize: fc.constantFrom(0, 1_000, 65_535, 1_000_000), headerTableSize: fc.constantFrom(0, 1_024, 4_096, 65_536) });
  const own = fc.record({ initialWindowSize: fc.constantFrom(20_000, 65_535, 1_000_000), headerTableSize: fc.constantFrom(1_024, 4_096) });
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 1, maxLength: 5 }),
      settings,
      own,
      fc.boolean(),
      fc.boolean(),
      async (steps, peer, other, isWide, hasTable) => {
        const stations = [await open(), await open(other)] as const;
        const options = { settings: { ...peer, initialWindowSize: peer.initialWindowSize || 10 }, ...(hasTable ? {} : { maxDeflateDynamicTableSize: 0 }) };
        const client = http2.connect(`http://127.0.0.1:${portOf(stations[0])}`, options);
        let at = 0;
        await ask(client, 0, 0);
        if (isWide) {
          client.setLocalWindowSize(300_000);
          stations[0].session?.setLocalWindowSize(200_000);
        }
        for (const { body, size: wanted, moves } of steps) {
          await ask(client, body, peer.initialWindowSize === 0 ? Math.min(wanted, 200) : wanted);
          for (let count = 0; count < moves; count++) await move(stations[at % 2] as Station, stations[++at % 2] as Station);
          await settle(client, stations[at % 2] as Station);
          const { state } = (stations[at % 2] as Station).session as ServerHttp2Session;
          assert.deepEqual([state.remoteWindowSize, state.localWindowSize], [client.state.localWindowSize, client.state.remoteWindowSize]);
        }
        client.destroy();
        for (const { server } of stations) server.close();
      },
    ),
    { numRuns: Number(process.env['RUNS'] ?? 25) },
  );
  assert.deepEqual(mistakes, []);
});

test('A client whose compressor has put nothing into its table is not told to empty it', async () => {
  const stations = [await open({ headerTableSize: 2_000 }), await open({ headerTableSize: 2_000 })] as const;
  const client = http2.connect(`http://127.0.0.1:${portOf(stations[0])}`, { maxDeflateDynamicTableSize: 0 } as http2.ClientSessionOptions);
  const told: (number | undefined)[] = [];
  client.on('remoteSettings', ({ headerTableSize }) => told.push(headerTableSize));
  await ask(client, 10, 10);
  await move(stations[0], stations[1]);
  await ask(client, 10, 10);
  await move(stations[1], stations[0]);
  await ask(client, 10, 10);
  assert.deepEqual(told, [2_000]);
  client.destroy();
  for (const { server } of stations) server.close();
});

for (const [agent, isTrusted, stays] of [
  ['Go-http-client/2.0', false, true],
  ['Go-http-client/2.0', true, false],
  ['grpc-go/1.60.0', false, false],
] as const) {
  const name = `${agent}${isTrusted ? ', of a program that has opted in' : ''}`;
  test(`A client that may not listen when it is told to empty its table is not told, and stays: ${name} ${stays ? 'stays' : 'moves'}`, async () => {
    const station = await open();
    const client = http2.connect(`http://127.0.0.1:${portOf(station)}`);
    const stream = client.request({ 'user-agent': agent, 'x-more': 'something to be compressed' }).resume();
    await once(stream, 'close');
    const session = station.session as ServerHttp2Session;
    assert.equal(
      watchSession(session, isTrusted, () => {}),
      !stays,
    );
    assert.equal(session.pendingSettingsAck, !stays);
    client.destroy();
    station.server.close();
  });
}

/** Begins a session by hand, and answers what it is told: each PING by what `answer` makes of its acknowledgement. */
function dial(port: number, answer: (acknowledgement: Buffer) => Buffer): net.Socket {
  const peer = net.connect(port, '127.0.0.1');
  let rest = Buffer.alloc(0);
  peer.on('data', (bytes) => {
    rest = Buffer.concat([rest, bytes]);
    for (let end = frameEnd(rest); end <= rest.length; end = frameEnd(rest)) {
      const frame = rest.subarray(0, end);
      rest = rest.subarray(end);
      const isAsking = frame[4] === 0;
      if (frame[3] === 4 && isAsking) peer.write(settingsAcknowledged);
      if (frame[3] === 6 && isAsking) peer.write(answer(Buffer.concat([frame.subarray(0, 4), Buffer.from([1]), frame.subarray(5)])));
    }
  });
  peer.write(Buffer.concat([preface, settingsFrame({})]));
  return peer;
}

function frameEnd(bytes: Buffer): number {
  return bytes.length < 9 ? Number.POSITIVE_INFINITY : 9 + bytes.readUIntBE(0, 3);
}

test('A session does not leave with a part of a frame, wherever that was cut, and whatever it came together with', async () => {
  const station = await open();
  const frame = settingsFrame({ maxFrameSize: 16_384, maxConcurrentStreams: 9 });
  for (let cut = 1; cut < frame.length; cut++) {
    const answers = [(ack: Buffer) => Buffer.concat([ack, frame.subarray(0, cut)]), (ack: Buffer) => Buffer.concat([frame.subarray(cut), ack])];
    const came = once(station.server, 'session');
    const peer = dial(portOf(station), (ack) => answers.shift()?.(ack) ?? ack);
    const [session] = (await came) as [ServerHttp2Session];
    await quiet(session);
    assert.deepEqual([answers.length, session.remoteSettings.maxConcurrentStreams], [0, 9], `cut behind ${cut} bytes`);
    peer.destroy();
  }
  station.server.close();
});
