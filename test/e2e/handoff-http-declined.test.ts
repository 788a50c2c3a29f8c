/** Connections that can't move, or that nobody wants: they are served where they are, and end without loss. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connections, dialHttp, visit } from '../helpers/http.ts';
import { type Rig, startMaster } from '../helpers/rig.ts';
import type { Wire } from '../helpers/wire.ts';

const soon = ['--idle-grace', '300ms'];

test('--no-handoff: idle connections end with FIN after the grace, a busy one with Connection: close', async () => {
  await using rig = await startMaster({ script: 'http-echo.cjs', flags: ['--no-handoff', ...soon] });
  const [oldPid] = await rig.pids();
  using idle = await dialHttp(rig);
  using unused = await dialHttp(rig);
  using busy = await dialHttp(rig);
  await visit(idle);
  idle.text = '';
  busy.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n');
  await connections(rig, 3);
  const { connections: account } = await rig.hup();
  assert.deepEqual((account as { moved: object }).moved, {});
  assert.deepEqual([await idle.end(), idle.text, await unused.end(), unused.text], ['FIN', '', 'FIN', '']);
  busy.write('hello');
  assert.equal(await busy.end(), 'FIN');
  assert.match(busy.text, new RegExp(`^Connection: close\r\n[\\s\\S]*"pid":${oldPid},`, 'm'));
  await isGone(rig, {}, { http: 3 });
});

for (const change of ['has one port', 'excludes it', 'excluded from the start']) {
  test(`New code that ${change}: connections of that server end with FIN after the grace, others move`, async () => {
    await using rig = await startMaster({ script: 'http-changes.mjs', env: { CHANGE: change }, flags: soon });
    const stay = await visited(rig, 'first', 3);
    const move = await visited(rig, 'second', 3);
    await rig.hup();
    await endsSilently(stay);
    const [newPid] = await rig.pids();
    for (const wire of move) assert.equal(await visit(wire), `second ${newPid}`);
    await isGone(rig, { http: 3 }, { http: 3 });
    for (const wire of move) wire.socket.destroy();
  });
}

test('New code that refuses to adopt: connections come back and end with FIN after the grace; the error is told once', async () => {
  await using rig = await startMaster({ script: 'http-changes.mjs', env: { CHANGE: 'refuses to adopt' }, flags: soon });
  const wires = await visited(rig, 'first', 12);
  await rig.hup();
  await endsSilently(wires);
  await isGone(rig, {}, { http: 12 });
  const [note, ...more] = rig.all('worker-note');
  assert.match(note?.message ?? '', /a connection could not be handed over: worker 2: it failed to adopt: Error: not mine\n\s+at /);
  assert.deepEqual(more, []);
});

for (const change of ['refuses to adopt', 'reads a line first', 'is full', 'excludes it']) {
  test(`New code that ${change}: the old worker goes on serving what came back, and says Connection: close`, async () => {
    await using rig = await startMaster({ script: 'http-changes.mjs', env: { CHANGE: change } });
    const [oldPid] = await rig.pids();
    const wires = await visited(rig, 'first', 12);
    const expected = change === 'is full' ? 1 : 0;
    const { connections: account, open } = await rig.hup();
    assert.deepEqual([account, open], [{ moved: expected > 0 ? { http: expected } : {}, closed: {}, cut: {} }, 12 - expected]);
    const answers = await Promise.all(wires.map((wire) => visit(wire)));
    assert.equal(answers.filter((text) => text === `first ${oldPid}`).length, 12 - expected);
    for (const [index, wire] of wires.entries()) {
      if (answers[index] !== `first ${oldPid}`) continue;
      assert.match(wire.text, /^Connection: close\r$/m);
      assert.equal(await wire.end(), 'FIN');
    }
    await isGone(rig, expected > 0 ? { http: expected } : {}, { http: 12 - expected });
    if (change === 'reads a line first') assert.match(rig.all('worker-note')[0]?.message ?? '', /its server reads something else before the first request/);
    if (change === 'is full') assert.match(rig.all('worker-note')[0]?.message ?? '', /its server takes no more connections/);
    for (const wire of wires) wire.socket.destroy();
  });
}

test('A stop moves nothing: idle connections end with FIN after the grace', async () => {
  await using rig = await startMaster({ script: 'http-timeouts.cjs', flags: soon });
  using wire = await dialHttp(rig);
  await visit(wire);
  await rig.hup();
  assert.equal(await visit(wire), `pid ${(await rig.pids())[0]}`);
  wire.text = '';
  const stopped = rig.stop();
  await endsSilently([wire]);
  assert.equal((await stopped).code, 0);
});

/** Connections to the server of that name that have had a request. */
async function visited(rig: Rig, server: 'first' | 'second', count: number): Promise<Wire[]> {
  const [pid] = await rig.pids();
  const wires = await Promise.all(Array.from({ length: count }, () => dialHttp(rig, server === 'first' ? 1 : 0)));
  for (const wire of wires) assert.equal(await visit(wire), `${server} ${pid}`);
  return wires;
}

async function endsSilently(wires: readonly Wire[]): Promise<void> {
  for (const wire of wires) {
    const before = wire.text.length;
    assert.equal(await wire.end(), 'FIN');
    assert.equal(wire.text.length, before);
  }
}

async function isGone(rig: Rig, moved: object, closed: object): Promise<void> {
  const gone = await rig.until('generation-gone');
  assert.deepEqual([gone['generation'], gone['moved'], gone['closed'], gone['cut']], [1, moved, closed, {}]);
}
