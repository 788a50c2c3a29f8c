/** What a client may do around the moment at which its connection moves. */
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { answer, connections, dialHttp, get, visit } from '../helpers/http.ts';
import { kinds, overEach } from '../helpers/over-each.ts';
import { poll, type Rig, startMaster, temporaryFolder } from '../helpers/rig.ts';
import type { Wire } from '../helpers/wire.ts';

const body = 'hello';
const request = `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
const positions = Array.from({ length: request.length - 1 }, (_, index) => index + 1);

overEach('A request that is split at any of its bytes is answered while connections move, over and over', async (over) => {
  await using rig = await startMaster({ over, script: 'http-echo.cjs', env: { KEEP_ALIVE: '60000' } });
  const wires = await Promise.all(positions.map(() => dialHttp(rig)));
  let isOver = false;
  let answered = 0;
  const clients = wires.map(async (wire, index) => {
    while (!isOver) {
      assert.equal((await splitRequest(wire, positions[index] as number)).body, body);
      answered++;
    }
  });
  for (let reload = 0; reload < 3; reload++) {
    const { connections, outcome } = await rig.hup();
    assert.deepEqual([outcome, (connections as { closed: object }).closed], ['committed', {}]);
  }
  isOver = true;
  await Promise.all(clients);
  await poll(
    async () => (await rig.status()).workers.length === 1,
    () => `old workers are left\n${rig.stderr}`,
  );
  const [newest] = await rig.pids();
  for (const wire of wires) assert.equal((await splitRequest(wire, 1)).pid, newest);
  assert.ok(answered > positions.length);
  for (const wire of wires) wire.socket.destroy();
});

overEach('A request whose first bytes come before the reload and the rest after is answered, and the connection moves then', async (over) => {
  await using rig = await startMaster({ over, script: 'http-echo.cjs', env: { KEEP_ALIVE: '60000' } });
  const wires = await Promise.all(positions.map(() => dialHttp(rig)));
  await Promise.all(wires.map((wire) => visit(wire)));
  for (const [index, wire] of wires.entries()) {
    wire.text = '';
    wire.write(request.slice(0, positions[index]));
  }
  await rig.hup();
  for (const [index, wire] of wires.entries()) wire.write(request.slice(positions[index]));
  for (const wire of wires) assert.equal(JSON.parse(await answer(wire)).body, body);
  const { moved, closed, cut } = await rig.until('generation-gone');
  assert.deepEqual([moved, closed, cut], [{ [kinds[over].http]: wires.length }, {}, {}]);
  const [newest] = await rig.pids();
  for (const wire of wires) assert.equal(JSON.parse(await visit(wire)).pid, newest);
  for (const wire of wires) wire.socket.destroy();
});

overEach('A connection that never sent a byte moves, and speaks first with the new worker', async (over) => {
  await using rig = await startMaster({ over, script: 'http-timeouts.cjs' });
  using wire = await dialHttp(rig);
  await connections(rig, 1);
  await rig.hup();
  await rig.hup();
  assert.equal(await visit(wire), `pid ${await onlyPid(rig)}`);
  assert.match(wire.text, /connection: keep-alive/i);
  await rig.hup();
  assert.equal(await visit(wire), `pid ${await onlyPid(rig)}`);
});

overEach('A response that waits for its slow reader is sent whole before the connection moves', async (over) => {
  await using rig = await startMaster({ over, script: 'http-echo.cjs', env: { KEEP_ALIVE: '60000' } });
  const [oldPid] = await rig.pids();
  using wire = await dialHttp(rig);
  await visit(wire);
  wire.text = '';
  wire.socket.pause();
  wire.write(get('/?size=16000000'));
  using other = await dialHttp(rig);
  await visit(other); // by now the old worker has begun to answer the one that was sent before
  await rig.hup();
  await rig.hup();
  wire.socket.resume();
  const { pid, fill } = JSON.parse(await answer(wire)) as { pid: number; fill: string };
  assert.deepEqual([pid, fill.length], [oldPid, 16_000_000]);
  await rig.until('generation-gone', ({ generation }) => generation === 1);
  assert.equal(JSON.parse(await visit(wire)).pid, await onlyPid(rig));
});

overEach('Empty lines between two requests keep a connection neither from being served nor from moving', async (over) => {
  await using rig = await startMaster({ over, script: 'http-timeouts.cjs', flags: ['--drain-timeout', '10s'] });
  using wire = await dialHttp(rig);
  await visit(wire);
  await rig.hup();
  wire.write('\r\n');
  using other = await dialHttp(rig);
  await visit(other); // by now the empty line, which was sent before, has been read
  await rig.hup();
  const { moved, cut } = await rig.until('generation-gone', ({ generation }) => generation === 2);
  assert.deepEqual([moved, cut], [{ [kinds[over].http]: 2 }, {}]);
  assert.equal(await visit(wire), `pid ${await onlyPid(rig)}`);
});

overEach('What a client sends, or how it leaves, while its connection is under way meets whoever gets the connection', async (over) => {
  using folder = temporaryFolder();
  const hold = join(folder.path, 'hold');
  await using rig = await startMaster({ over, script: 'blocks-in-adopt.mjs', env: { HOLD: hold } });
  const wires = await Promise.all(Array.from({ length: 24 }, () => dialHttp(rig)));
  for (const wire of wires) await visit(wire);
  writeFileSync(hold, '');
  rig.forget();
  rig.signal('SIGHUP');
  await rig.waitFor(() => rig.stdout.includes('blocks') || undefined, 'the new worker that hangs in adopt');
  const outcomes = wires.map((wire, index) => misbehave(wire, index));
  rmSync(hold);
  await Promise.all(outcomes);
  await rig.until('generation-gone');
  const kept = wires.filter((_, index) => index % 6 < 2);
  for (const wire of kept) assert.equal(await visit(wire), `pid ${await onlyPid(rig)} `);
  await connections(rig, kept.length);
  assert.deepEqual(rig.all('worker-note'), []);
  for (const wire of kept) wire.socket.destroy();
});

overEach('While the new worker hangs, the old one takes back what that has not taken, and serves it', async (over) => {
  using folder = temporaryFolder();
  const hold = join(folder.path, 'hold');
  await using rig = await startMaster({ over, script: 'blocks-in-adopt.mjs', env: { HOLD: hold } });
  const [oldPid] = await rig.pids();
  const wires = await Promise.all(Array.from({ length: 24 }, () => dialHttp(rig)));
  for (const wire of wires) await visit(wire);
  writeFileSync(hold, '');
  rig.forget();
  rig.signal('SIGHUP');
  await rig.waitFor(() => rig.stdout.includes('blocks') || undefined, 'the new worker that hangs in adopt');
  const answers = wires.map((wire) => visit(wire));
  const byOld = await firstAnswers(answers, wires.length - 1);
  assert.deepEqual(new Set(byOld), new Set([`pid ${oldPid} `]));
  rmSync(hold);
  const { moved, closed, cut } = await rig.until('generation-gone');
  assert.deepEqual([moved, closed, cut], [{ [kinds[over].http]: wires.length }, {}, {}]);
  const newPid = await onlyPid(rig);
  assert.equal((await Promise.all(answers)).filter((text) => text === `pid ${newPid} `).length, 1);
  for (const wire of wires) assert.equal(await visit(wire), `pid ${newPid} `);
  for (const wire of wires) wire.socket.destroy();
});

overEach('While one of two new workers hangs in the middle of adopting, all other connections move to the other one', async (over) => {
  using folder = temporaryFolder();
  const hold = join(folder.path, 'hold');
  await using rig = await startMaster({ over, script: 'blocks-in-adopt.mjs', env: { HOLD: hold, HOLDS_ONE: 'yes' }, flags: ['--workers', '2'] });
  const wires = await Promise.all(Array.from({ length: 24 }, () => dialHttp(rig)));
  for (const wire of wires) await visit(wire);
  writeFileSync(hold, '');
  rig.forget();
  rig.signal('SIGHUP');
  let counts = '';
  await poll(
    async () => {
      const workers = (await rig.status()).workers.filter(({ generation }) => generation === 2);
      counts = JSON.stringify(workers.map(({ connections }) => connections));
      return workers.some(({ connections }) => connections === wires.length - 1);
    },
    () => `the new workers have ${counts} connections`,
  );
  rmSync(hold);
  const { moved } = await rig.until('generation-gone');
  assert.deepEqual(moved, { [kinds[over].http]: wires.length });
  for (const wire of wires) await visit(wire);
  for (const wire of wires) wire.socket.destroy();
});

/** A sixth of the clients each: sends a request, sends half of one and the rest, says goodbye with a request or without, vanishes politely or not. */
async function misbehave(wire: Wire, index: number): Promise<void> {
  wire.text = '';
  switch (index % 6) {
    case 0:
      wire.write(request);
      return assert.match(await answer(wire), / hello$/);
    case 1:
      wire.write(request.slice(0, 20));
      await turn();
      wire.write(request.slice(20));
      return assert.match(await answer(wire), / hello$/);
    case 2:
      wire.socket.end(request);
      assert.equal(await wire.end(), 'FIN');
      return assert.match(wire.text, / hello$/);
    case 3:
      wire.socket.end();
      assert.equal(await wire.end(), 'FIN');
      return assert.equal(wire.text, '');
    case 4:
      return void wire.socket.destroy();
    default:
      return void wire.reset();
  }
}

async function splitRequest(wire: Wire, position: number): Promise<{ pid: number; body: string }> {
  wire.text = '';
  wire.write(request.slice(0, position));
  for (let count = 0; count < 2 ** (position % 8); count++) await turn(); // each its own rhythm, so that every moment is met
  wire.write(request.slice(position));
  return JSON.parse(await answer(wire)) as { pid: number; body: string };
}

/** The first answers, so many; the others may come later. */
function firstAnswers(answers: readonly Promise<string>[], wanted: number): Promise<string[]> {
  const found: string[] = [];
  return new Promise((resolve, reject) => {
    for (const one of answers) {
      one.then((text) => found.push(text) === wanted && resolve(found), reject);
    }
  });
}

async function onlyPid(rig: Rig): Promise<number> {
  const pids = await rig.pids();
  assert.equal(pids.length, 1);
  return pids[0] as number;
}
