/** Which connections of which programs move where, what goes with them, and how that is accounted for. */
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Status } from '../../src/protocol/control.ts';
import { answer, connections, dialHttp, get, visit } from '../helpers/http.ts';
import { type Rig, startMaster, temporaryFolder } from '../helpers/rig.ts';
import { dial, type Wire } from '../helpers/wire.ts';

interface Visited {
  readonly pid: number;
  readonly visits: number;
  readonly adopted: boolean;
  readonly extra?: unknown;
}

test('Every connection stays with the server of its own port', async () => {
  await using rig = await startMaster({ script: 'several-ports.cjs' });
  const wires = await manyWires(rig, 9, (index) => index % 3);
  for (const wire of wires) await visit(wire);
  await rig.hup();
  const [newPid] = await rig.pids();
  for (const [index, wire] of wires.entries()) assert.equal(await visit(wire), `${'abc'[index % 3]} ${newPid}`);
  closeAll(wires);
});

test('Connections of a subclass of http.Server move, over TCP and over a Unix socket', async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'shop.sock');
  await using rig = await startMaster({ script: 'http-subclass.cjs', env: { SOCKET: path } });
  const wires = [await dialHttp(rig, 0), await dial({ path }), await dial({ path })];
  for (const wire of wires.slice(0, 2)) await visit(wire);
  await connections(rig, 3);
  for (let reload = 0; reload < 2; reload++) {
    const { connections: account } = await rig.hup();
    assert.deepEqual(account, { moved: { http: 3 }, closed: {}, cut: {} });
    const [newPid] = await rig.pids();
    assert.deepEqual([await visit(wires[0] as Wire), await visit(wires[1] as Wire)], [`port ${newPid}`, `path ${newPid}`]);
  }
  assert.equal(await visit(wires[2] as Wire), `path ${(await rig.pids())[0]}`);
  closeAll(wires);
});

test('Connections that a generation was still busy with when the next two came end up in the newest', async () => {
  using folder = temporaryFolder();
  const hold = join(folder.path, 'hold');
  writeFileSync(hold, '');
  await using rig = await startMaster({ script: 'http-timeouts.cjs', env: { HOLD: hold } });
  const [oldPid] = await rig.pids();
  const busy = await manyWires(rig, 5);
  using idle = await dialHttp(rig);
  for (const wire of busy) wire.write(get('/held'));
  await visit(idle); // by now the held ones, which were sent before, are being served
  await rig.hup();
  const { connections: account } = await rig.hup();
  assert.deepEqual(account, { moved: { http: 1 }, closed: {}, cut: {} });
  rmSync(hold);
  for (const wire of busy) {
    assert.equal(await answer(wire), `pid ${oldPid}`);
    assert.match(wire.text, /^connection: keep-alive\r$/im);
  }
  const { moved } = await rig.until('generation-gone', ({ generation }) => generation === 1);
  assert.deepEqual(moved, { http: 6 });
  const [newPid] = await rig.pids();
  for (const wire of [idle, ...busy]) assert.equal(await visit(wire), `pid ${newPid}`);
  closeAll(busy);
});

test('Several workers share what comes from several others', async () => {
  await using rig = await startMaster({ script: 'http-timeouts.cjs', flags: ['--workers', '3'] });
  const wires = await manyWires(rig, 60);
  for (const wire of wires) await visit(wire);
  const { connections: account } = await rig.hup();
  assert.deepEqual(account, { moved: { http: 60 }, closed: {}, cut: {} });
  const serving = (await rig.status()).workers.filter(({ phase }) => phase === 'serving').map((worker) => worker.connections ?? 0);
  assert.equal(serving.length, 3);
  assert.ok(Math.max(...serving) - Math.min(...serving) <= 2, serving.join(', '));
  const pids = new Set((await rig.pids()).map((pid) => `pid ${pid}`));
  assert.deepEqual(new Set(await Promise.all(wires.map((wire) => visit(wire)))), pids);
  closeAll(wires);
});

test('What moved is told by the log, by status, and by the command', async () => {
  await using rig = await startMaster({ script: 'http-timeouts.cjs' });
  const wires = await manyWires(rig, 7);
  for (const wire of wires) await visit(wire);
  rig.forget();
  const { stdout, code } = await rig.command('reload');
  assert.equal(code, 0);
  assert.match(stdout, /reloaded: generation 2 serves in place of 1 after [^;]*; connections moved: 7 http\n/);
  const account = { moved: { http: 7 }, closed: {}, cut: {} };
  const [finished] = rig.all('reload-finished');
  assert.deepEqual([finished?.['connections'], finished?.['open']], [account, 0]);
  const { moved, closed, cut, level } = await rig.until('generation-gone');
  assert.deepEqual([{ moved, closed, cut }, level], [account, 'info']);
  const status = JSON.parse((await rig.command('status', '--json')).stdout) as Status;
  assert.deepEqual(status.lastReload?.connections, account);
  closeAll(wires);
});

test('What a program keeps on a socket lives on in the new worker', async () => {
  await using rig = await startMaster({ script: 'http-state.mjs', env: { STATE: 'moves' } });
  const [oldPid] = await rig.pids();
  using wire = await dialHttp(rig);
  assert.deepEqual(await visitState(wire), { pid: oldPid, visits: 1, adopted: false });
  for (const visits of [2, 3]) {
    await rig.hup();
    assert.deepEqual(await visitState(wire), { pid: (await rig.pids())[0], visits, adopted: true, extra: [0, '1'] });
  }
  await rig.waitFor(() => rig.stdout.includes(`${oldPid} closed, handed off: true`) || undefined, 'the close in the old worker');
  using fresh = await dialHttp(rig);
  const { pid, adopted } = await visitState(fresh);
  assert.equal(adopted, false);
  fresh.socket.end();
  await rig.waitFor(() => rig.stdout.includes(`${pid} closed, handed off: false`) || undefined, 'an ordinary close');
});

test('As long as export returns undefined, the connection is served where it is; then it moves', async () => {
  using folder = temporaryFolder();
  const hold = join(folder.path, 'hold');
  writeFileSync(hold, '');
  await using rig = await startMaster({ script: 'http-state.mjs', env: { STATE: 'is not ready', HOLD: hold }, flags: ['--idle-grace', '0'] });
  const [oldPid] = await rig.pids();
  using wire = await dialHttp(rig);
  await visit(wire);
  const { open } = await rig.hup();
  assert.equal(open, 1);
  for (const visits of [2, 3]) {
    assert.deepEqual(await visitState(wire), { pid: oldPid, visits, adopted: false });
    assert.match(wire.text, /^connection: keep-alive\r$/im);
  }
  rmSync(hold);
  const { moved } = await rig.until('generation-gone');
  assert.deepEqual(moved, { http: 1 });
  const { pid, visits } = await visitState(wire);
  assert.deepEqual([pid, visits], [(await rig.pids())[0], 4]);
});

for (const [state, complaint] of [
  ['is too large', /the state of a connection can't be handed over: .*65,?536/],
  ['is a function', /the state of a connection can't be handed over: .* could not be cloned/],
] as const)
  test(`A state that ${state} keeps its connection here, which ends with FIN after the grace; that is told once`, async () => {
    await using rig = await startMaster({ script: 'http-state.mjs', env: { STATE: state }, flags: ['--idle-grace', '300ms'] });
    const wires = await manyWires(rig, 5);
    for (const wire of wires) await visit(wire);
    for (const wire of wires) wire.text = '';
    await rig.hup();
    for (const wire of wires) assert.deepEqual([await wire.end(), wire.text], ['FIN', '']);
    const { moved, closed, cut } = await rig.until('generation-gone');
    assert.deepEqual([moved, closed, cut], [{}, { http: 5 }, {}]);
    const [note, ...more] = rig.all('worker-note');
    assert.match(note?.message ?? '', complaint);
    assert.deepEqual(more, []);
  });

function manyWires(rig: Rig, count: number, listener: (index: number) => number = () => 0): Promise<Wire[]> {
  return Promise.all(Array.from({ length: count }, (_, index) => dialHttp(rig, listener(index))));
}

function closeAll(wires: readonly Wire[]): void {
  for (const wire of wires) wire.socket.destroy();
}

async function visitState(wire: Wire): Promise<Visited> {
  return JSON.parse(await visit(wire)) as Visited;
}

test('A limit of new connections can tell those that moved from new ones, before it decides', async () => {
  await using rig = await startMaster({ script: 'limits-new-connections.mjs' });
  const wires = await manyWires(rig, 3);
  for (const wire of wires) await visit(wire);
  for (let reload = 0; reload < 2; reload++) {
    await rig.hup();
    for (const wire of wires) await visit(wire);
  }
  const fresh = await manyWires(rig, 4);
  for (const wire of fresh.slice(0, 3)) await visit(wire);
  assert.equal(await fresh[3]?.end(), 'FIN', 'the limit is met');
  closeAll([...wires, ...fresh]);
});
