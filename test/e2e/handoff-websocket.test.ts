/** WebSockets of the ws library whose server opted in move to the new worker at a reload, and their clients can't tell. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { type LoggedEvent, poll, type Rig, startMaster } from '../helpers/rig.ts';
import { dialWebSocket, type WebSocketWire } from '../helpers/web-socket.ts';
import { dial } from '../helpers/wire.ts';

const script = 'counts-messages.mjs';
const host = '127.0.0.1';

test('Of 200 WebSockets over four reloads no message is lost, doubled or reordered either way, and none is opened anew', async () => {
  await using rig = await startMaster({ script });
  const wires = await Promise.all(Array.from({ length: 200 }, () => dialWebSocket(`${rig.url()}/?push`)));
  const talks = wires.map(talk);
  for (const generation of [1, 2, 3, 4]) {
    await someAnswered(wires);
    await rig.hup();
    const { moved, closed, cut } = await drained(rig, generation);
    assert.deepEqual([moved, closed, cut], [{ websocket: 200 }, {}, {}]);
  }
  await someAnswered(wires);
  const sent = await Promise.all(talks.map((stop) => stop()));
  for (const [index, wire] of wires.entries()) {
    check(wire, sent[index] ?? 0);
    wire[Symbol.dispose]();
  }
});

test('A message of which a part has come is answered by the old worker, then the WebSocket moves', async () => {
  await using rig = await startMaster({ script });
  using fragmented = await greeted(rig);
  using halved = await greeted(rig);
  fragmented.socket.send('in two ', { fin: false });
  await pingPong(fragmented); // so it has read what came before
  halved.below.write(Buffer.concat([maskedFrame(9, ''), maskedFrame(1, 'frame').subarray(0, 8)]));
  await once(halved, 'pong');
  await rig.hup();
  assert.deepEqual(rig.all('worker-drained'), []);
  fragmented.socket.send('fragments');
  halved.below.write(maskedFrame(1, 'frame').subarray(8));
  await fragmented.until(() => fragmented.texts.includes('1 1 in two fragments'));
  await halved.until(() => halved.texts.includes('1 1 frame'));
  assert.deepEqual((await drained(rig)).moved, { websocket: 2 });
  for (const wire of [fragmented, halved]) assert.equal(await wire.ask('whole'), '2 2 whole');
});
