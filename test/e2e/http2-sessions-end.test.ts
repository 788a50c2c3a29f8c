/** HTTP/2 sessions that don't move end at a reload without losing a stream: RFC 9113 §6.8. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dialHttp2, type Frame, type Http2Wire, type as kinds } from '../helpers/http2-wire.ts';
import { startMaster } from '../helpers/rig.ts';

const LAST_OF_ALL = 2 ** 31 - 1;
const script = 'http2-pid.cjs';

function isGoaway({ type }: Frame): boolean {
  return type === kinds.goaway;
}

function isPing({ type, flags }: Frame): boolean {
  return type === kinds.ping && flags === 0;
}

/** The last streams that were named, and the reasons. */
function goaways(wire: Http2Wire): [last: number, code: number][] {
  return wire.frames.filter(isGoaway).map(({ payload }) => [payload.readUInt32BE(0), payload.readUInt32BE(4)]);
}

test('A stream that a client opens after the first GOAWAY is answered, and the final one comes with its round trip', async () => {
  await using rig = await startMaster({ script, flags: ['--no-handoff'] });
  const [old] = await rig.pids();
  using wire = await dialHttp2(rig.port());
  wire.get(1);
  assert.equal(await wire.answer(1), `begun ${old}`);
  await rig.hup();
  await wire.until(isGoaway);
  const ping = await wire.until(isPing);
  wire.get(3);
  assert.equal(await wire.answer(3), `begun ${old}`);
  assert.deepEqual(goaways(wire), [[LAST_OF_ALL, 0]], 'nothing is refused before the round trip');
  wire.acknowledge(ping);
  assert.equal(await wire.end(), 'FIN');
  assert.deepEqual(goaways(wire).slice(0, 2), [
    [LAST_OF_ALL, 0],
    [3, 0],
  ]);
  const { closed, cut } = await rig.until('worker-drained');
  assert.deepEqual([closed, cut], [{ http2: 1 }, {}]);
});

test('A session that was never used ends the same way', async () => {
  await using rig = await startMaster({ script, flags: ['--no-handoff'] });
  using wire = await dialHttp2(rig.port());
  await wire.until(({ type, flags }) => type === kinds.settings && flags === 1);
  await rig.hup();
  wire.acknowledge(await wire.until(isPing));
  assert.equal(await wire.end(), 'FIN');
  assert.deepEqual(goaways(wire)[0], [LAST_OF_ALL, 0]);
  assert.deepEqual((await rig.until('worker-drained'))['closed'], { http2: 1 });
});

test('A session whose client never answers the PING ends all the same, with what it had begun', async () => {
  await using rig = await startMaster({ script, flags: ['--no-handoff', '--drain-timeout', '60s'] });
  using wire = await dialHttp2(rig.port());
  wire.get(1);
  await wire.answer(1);
  await rig.hup();
  await wire.until(isPing);
  assert.equal(await wire.end(), 'FIN');
  assert.deepEqual(goaways(wire).slice(0, 2), [
    [LAST_OF_ALL, 0],
    [1, 0],
  ]);
});
