/** Raw connections whose server opted in move to the new worker at a reload, and their clients can't tell. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import type { NetConnectOpts } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import type { ConnectionOptions } from 'node:tls';
import { startLineClients } from '../helpers/line-clients.ts';
import { kinds, overEach } from '../helpers/over-each.ts';
import { type LoggedEvent, type Rig, startMaster, temporaryFolder } from '../helpers/rig.ts';
import { dial, dialTls, open, type Wire } from '../helpers/wire.ts';

const script = 'counts-lines.mjs';
const host = '127.0.0.1';

overEach('Of 200 connections over four reloads nothing is lost, doubled or reordered, and none is opened anew', async (over) => {
  await using rig = await startMaster({ over, script });
  const clients = startLineClients({ port: rig.port(), ca: rig.ca, count: 200 });
  for (const generation of [1, 2, 3, 4]) {
    await clients.answered(2_000);
    await rig.hup();
    const { moved, closed, cut } = await drained(rig, generation);
    assert.deepEqual([moved, closed, cut], [{ [kinds[over].raw]: 200 }, {}, {}]);
  }
  await clients.answered(2_000);
  for (const client of await clients.stop()) assert.deepEqual(client, { mistake: undefined, generations: [1, 2, 3, 4, 5] });
});

overEach('Several workers share the connections of those that leave', async (over) => {
  await using rig = await startMaster({ over, script, flags: ['--workers', '3'] });
  const clients = startLineClients({ port: rig.port(), ca: rig.ca, count: 60 });
  for (const generation of [1, 2]) {
    await clients.answered(600);
    await rig.hup();
    await rig.waitFor(() => rig.all('worker-drained').filter((event) => event['generation'] === generation).length === 3 || undefined, 'three drained workers');
    const account = rig.all('worker-drained').map(({ moved }) => (moved as Record<string, number>)[kinds[over].raw] ?? 0);
    assert.equal(sum(account), 60);
    const { workers } = await rig.status();
    const shares = workers.filter(({ phase }) => phase === 'serving').map(({ connections }) => connections ?? 0);
    assert.deepEqual([...shares].sort(), [20, 20, 20]);
  }
  await clients.answered(600);
  for (const client of await clients.stop()) assert.deepEqual(client, { mistake: undefined, generations: [1, 2, 3] });
});

overEach('It moves while a line is half-sent, with what it has read of it; nobody is greeted twice', async (over) => {
  await using rig = await startMaster({ over, script });
  using wire = await greeted(rig);
  wire.write('one\nhalf of ');
  await wire.until('1 1 0 one\n');
  await rig.hup();
  assert.deepEqual((await drained(rig)).moved, { [kinds[over].raw]: 1 });
  wire.write('a line\n');
  await wire.until('2 2 0 half of a line\n');
  assert.equal(wire.text, 'hello from 0\n1 1 0 one\n2 2 0 half of a line\n');
  await rig.waitFor(() => rig.stdout.includes('handed off in 1\n') || undefined, 'the close in the old worker');
});

overEach('Where export says "not now" the old worker goes on, and the connection moves afterwards', async (over) => {
  await using rig = await startMaster({ over, script, env: { EXPORTS: 'whole lines' } });
  using wire = await greeted(rig);
  wire.write('one\nhalf of ');
  await wire.until('1 1 0 one\n');
  await rig.hup();
  assert.deepEqual(rig.all('worker-drained'), []);
  wire.write('a line\n');
  await wire.until('2 1 0 half of a line\n');
  assert.deepEqual((await drained(rig)).moved, { [kinds[over].raw]: 1 });
  wire.write('three\n');
  await wire.until('3 2 0 three\n');
});

for (const [what, EXPORTS, why] of [
  ['is too large', 'too much', /the exported state takes \d+ bytes, the limit is 65536/],
  ['can not be cloned', 'functions', /could not be cloned/],
  ['is not to be had', 'nothing of that kind', /is not a function/],
] as const) {
  overEach(`A connection whose state ${what} stays, is closed with FIN, and the log says why`, async (over) => {
    await using rig = await startMaster({ over, script, env: { EXPORTS }, flags: ['--idle-grace', '300ms'] });
    using wire = await greeted(rig);
    await rig.hup();
    const { message } = await rig.until('worker-note');
    assert.match(message, /the state of a connection can't be handed over/);
    assert.match(message, why);
    assert.equal(await wire.end(), 'FIN');
    const { moved, closed } = await drained(rig);
    assert.deepEqual([moved, closed], [{}, { [kinds[over].raw]: 1 }]);
  });
}

overEach('What the program writes while it exports arrives before what the new worker writes', async (over) => {
  await using rig = await startMaster({ over, script, env: { EXPORTS: 'parting' } });
  using wire = await greeted(rig);
  await rig.hup();
  await drained(rig);
  wire.write('one\n');
  await wire.until('1 2 0 one\n');
  assert.equal(wire.text, 'hello from 0\nparting\n1 2 0 one\n');
});

overEach('A connection that the program ends while it exports ends as the program wants it', async (over) => {
  await using rig = await startMaster({ over, script, env: { EXPORTS: 'end' } });
  using wire = await greeted(rig);
  await rig.hup();
  assert.equal(await wire.end(), 'FIN');
  assert.equal(wire.text, 'hello from 0\nbye\n');
  const { moved, closed } = await drained(rig);
  assert.deepEqual([moved, closed], [{}, { [kinds[over].raw]: 1 }]);
});

overEach('A half-closed client gets its answer from the worker that owes it', async (over) => {
  await using rig = await startMaster({ over, script });
  const [pid = 0] = await rig.pids();
  using wire = await greeted(rig, { port: rig.port(), host, allowHalfOpen: true });
  wire.write('one\nhold\n');
  await wire.until('1 1 0 one\n'); // both lines came in one piece
  wire.socket.end();
  await rig.hup();
  assert.deepEqual(rig.all('worker-drained'), []);
  process.kill(pid, 'SIGUSR2');
  assert.equal(await wire.end(), 'FIN');
  assert.equal(wire.text, 'hello from 0\n1 1 0 one\nheld\n');
  assert.deepEqual((await drained(rig)).moved, {});
});

overEach('A client to which the server has half-closed is read by the old worker to its end', async (over) => {
  await using rig = await startMaster({ over, script });
  using wire = await greeted(rig, { port: rig.port(), host, allowHalfOpen: true });
  wire.write('end\n');
  assert.equal(await wire.end(), 'FIN');
  await rig.hup();
  wire.write('last words\n');
  await rig.waitFor(() => rig.stdout.includes('read last words in 1\n') || undefined, 'the last words');
  wire.socket.end();
  assert.deepEqual((await drained(rig)).closed, { [kinds[over].raw]: 1 });
});

overEach('A connection is not moved before its client has read everything that was written', async (over) => {
  await using rig = await startMaster({ over, script });
  const size = 32_000_000; // more than every buffer on the way holds
  const socket = open({ port: rig.port(), ca: rig.ca });
  await once(socket, rig.ca === undefined ? 'connect' : 'secureConnect');
  await once(socket, 'readable');
  let received = String(socket.read()); // behind TLS, what is written before a greeting is sent can't be counted
  socket.write(`fill ${size}\n`);
  await new Promise((resolve) => socket.once('readable', resolve));
  await rig.hup();
  assert.deepEqual(rig.all('worker-drained'), []);
  socket.setEncoding('latin1').on('data', (text: string) => {
    received += text;
  });
  assert.deepEqual((await drained(rig)).moved, { [kinds[over].raw]: 1 });
  socket.write('one\n');
  await new Promise<void>((resolve) => socket.on('data', () => received.endsWith('one\n') && resolve()));
  socket.destroy();
  assert.equal(received.length, 'hello from 0\n'.length + size + '1 2 0 one\n'.length);
  assert.ok(received.endsWith('x1 2 0 one\n'));
});

test('Connections of a Unix socket move', async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'lines.sock');
  await using rig = await startMaster({ script, env: { SOCKET: path } });
  using wire = await greeted(rig, { path });
  wire.write('one\n');
  await wire.until('1 1 0 one\n');
  await rig.hup();
  assert.deepEqual((await drained(rig)).moved, { unix: 1 });
  wire.write('two\n');
  await wire.until('2 2 0 two\n');
});

overEach('Of several ports each keeps its own connections, and those of a server that did not opt in stay until they end', async (over) => {
  await using rig = await startMaster({ over, script, env: { PORTS: '3', OPTED_IN: '2' } });
  const wires = await Promise.all([0, 1, 2].map((index) => greeted(rig, { port: rig.port(index), host })));
  await rig.hup();
  for (const wire of wires) {
    const index = Number(/\d/.exec(wire.text)?.[0]);
    wire.write('one\n');
    await wire.until(`1 ${index < 2 ? 2 : 1} ${index} one\n`);
  }
  for (const wire of wires) wire.socket.end();
  for (const wire of wires) assert.equal(await wire.end(), 'FIN');
  const { moved, closed } = await drained(rig);
  assert.deepEqual([moved, closed], [{ [kinds[over].raw]: 2 }, { [kinds[over].raw]: 1 }]);
});

overEach('New code that does not opt in is given nothing: the connection goes on with the old worker until it ends', async (over) => {
  await using rig = await startMaster({ over, script, env: { OPTED_IN_UNTIL: '1' } });
  using wire = await greeted(rig);
  wire.write('one\nhalf of ');
  await wire.until('1 1 0 one\n');
  await rig.hup();
  const { message } = await rig.until('worker-note');
  assert.match(message, /a connection could not be handed over: worker \d+: its server takes no raw connections over/);
  wire.write('a line\n');
  await wire.until('2 1 0 half of a line\n');
  wire.socket.end();
  assert.equal(await wire.end(), 'FIN');
  assert.equal(wire.text, 'hello from 0\n1 1 0 one\n2 1 0 half of a line\n');
  const { moved, closed } = await drained(rig);
  assert.deepEqual([moved, closed], [{}, { [kinds[over].raw]: 1 }]);
});

overEach('New code whose adopt throws gives the connection back, with its state', async (over) => {
  using folder = temporaryFolder();
  const file = join(folder.path, 'env');
  writeFileSync(file, 'FAILS_IN=2\n');
  await using rig = await startMaster({ over, script, flags: ['--environment-file', file] });
  using wire = await greeted(rig);
  wire.write('one\nhalf of ');
  await wire.until('1 1 0 one\n');
  await rig.hup();
  const { message } = await rig.until('worker-note');
  assert.match(message, /worker \d+: it failed to adopt: Error: it does not want to/);
  wire.write('a line\n');
  await wire.until('2 1 0 half of a line\n');
  assert.equal(wire.text, 'hello from 0\n1 1 0 one\n2 1 0 half of a line\n');
  await rig.waitFor(() => rig.stdout.includes('handed off in 2\n') || undefined, 'the close in the new worker'); // it lives on elsewhere
  wire.socket.end();
  assert.equal(await wire.end(), 'FIN');
});

async function greeted(rig: Rig, target: NetConnectOpts = { port: rig.port(), host }): Promise<Wire> {
  const wire = await (rig.ca === undefined ? dial(target) : dialTls({ ...target, ca: rig.ca } as ConnectionOptions));
  await wire.until(/^hello from \d\n/);
  return wire;
}

function drained(rig: Rig, generation = 1): Promise<LoggedEvent> {
  return rig.until('worker-drained', (event) => event['generation'] === generation);
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
