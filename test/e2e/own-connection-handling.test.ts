/** Programs that handle connections in a way of their own: what is not Node's own from the first byte to the last stays, and ends without loss. */
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { connections, dialHttp, get, visit } from '../helpers/http.ts';
import { type Rig, startMaster, temporaryFolder } from '../helpers/rig.ts';
import type { Wire } from '../helpers/wire.ts';

const script = 'handles-connections.cjs';
const LINE = 'PROXY TCP4 10.1.2.3 10.0.0.1 1 2\r\n';

for (const way of ['in its own listener', 'in a listener that comes later', 'in emit', 'in a server before it', 'and makes a stream of it'])
  test(`A program that reads a line before HTTP, ${way}: its connections stay, each request is answered, and they end with FIN`, async () => {
    using folder = temporaryFolder();
    const hold = join(folder.path, 'hold');
    writeFileSync(hold, '');
    await using rig = await startMaster({ script, env: { WAY: way, HOLD: hold }, flags: ['--idle-grace', '500ms', '--drain-timeout', '10m'] });
    const [old] = (await rig.pids()) as [number];
    using busy = await dialHttp(rig);
    using idle = await dialHttp(rig);
    using lasting = await dialHttp(rig);
    busy.write(LINE + get('/held') + get());
    for (const wire of [idle, lasting]) await greet(wire);
    await rig.hup();
    assert.equal(await visit(idle), `pid ${old}`);
    assert.match(idle.text, /^connection: close$/im);
    rmSync(hold);
    assert.deepEqual(await Promise.all([busy.end(), idle.end(), lasting.end()]), ['FIN', 'FIN', 'FIN']);
    assert.equal(busy.text.match(new RegExp(`pid ${old}`, 'g'))?.length, 2, 'the pipelined request is answered, too');
    const { moved, cut } = await rig.until('generation-gone');
    assert.deepEqual([moved ?? {}, cut ?? {}], [{}, {}]);
    assert.equal((await rig.until('worker-stopped'))['level'], 'info');
    assert.doesNotMatch(rig.stdout, /no line/);
    assert.deepEqual(rig.all('worker-note'), [], 'none was offered to anybody');
  });

test('New code that reads a line before HTTP, as the old did not, is given one connection, and no other is tried: they end where they are', async () => {
  using folder = temporaryFolder();
  const config = join(folder.path, 'app.json');
  const configure = (way: string) => writeFileSync(config, JSON.stringify({ env: { WAY: way } }));
  configure('at once');
  await using rig = await startMaster({ script, flags: ['--config', config, '--idle-grace', '300ms', '--drain-timeout', '10m'] });
  const [old] = (await rig.pids()) as [number];
  const wires = await Promise.all(Array.from({ length: 3 }, () => dialHttp(rig)));
  for (const wire of wires) await visit(wire);
  configure('in its own listener');
  await rig.hup();
  const [first, ...others] = wires as [Wire, ...Wire[]];
  assert.equal(await visit(first), `pid ${old}`);
  for (const wire of [first, ...others]) assert.equal(await wire.end(), 'FIN');
  assert.deepEqual((await rig.until('generation-gone'))['moved'] ?? {}, {});
  assert.match((await rig.until('worker-note')).message, /its server reads something else before the first request/);
  assert.equal(rig.stdout.match(/^reads in/gm)?.length, 1);
});

test('A listener of the program that has Node handle the connection at once changes nothing: it moves', async () => {
  await using rig = await startMaster({ script, env: { WAY: 'at once' } });
  await staysOpen(rig, (moved) => assert.deepEqual(moved, { http: 3 }));
});

test('Nothing is destroyed to learn what is idle: a program that wraps destroy loses no connection', async () => {
  await using rig = await startMaster({ script, env: { WAY: 'and wraps destroy' } });
  await staysOpen(rig, (moved) => assert.deepEqual(moved, { http: 3 }));
});

for (const path of ['/unfinished', '/finished', '/silent'])
  test(`A connection that the program took from the parser stays with it: ${path}`, async () => {
    await using rig = await startMaster({ script: 'hijacks-sockets.cjs', flags: ['--idle-grace', '50ms', '--drain-timeout', '10m'] });
    const [old] = (await rig.pids()) as [number];
    using wire = await dialHttp(rig);
    wire.write(get(path));
    await wire.until('taken');
    await rig.hup();
    wire.text = '';
    if (path !== '/silent') wire.write('hello');
    await wire.until(path === '/silent' ? `pushed by ${old}` : `${old} hello`);
    wire.socket.destroy();
    await rig.until('generation-gone');
  });

for (const way of ['child', 'without listeners'])
  test(`Connections that end unheard, given to a child or without listeners, are not waited for: ${way}`, async () => {
    await using rig = await startMaster({ script: 'gives-sockets-away.cjs', env: { WAY: way }, flags: ['--drain-timeout', '10m'] });
    const wires = await Promise.all(Array.from({ length: 5 }, () => dialHttp(rig)));
    for (const wire of wires) {
      wire.write('x');
      await wire.until(way === 'child' ? 'child: x' : 'hello');
      if (way !== 'child') wire.socket.destroy();
    }
    await connections(rig, 0);
    await rig.hup();
    const { cut } = await rig.until('generation-gone');
    assert.deepEqual(cut ?? {}, {});
    for (const wire of wires) wire.socket.destroy();
  });

async function greet(wire: Wire): Promise<void> {
  wire.text = '';
  wire.write(LINE + get());
  await wire.until(/pid \d+/);
}

async function staysOpen(rig: Rig, check: (moved: unknown) => void): Promise<void> {
  const wires = await Promise.all(Array.from({ length: 3 }, () => dialHttp(rig)));
  for (const wire of wires) await visit(wire);
  const { connections: account } = await rig.hup();
  check((account as { readonly moved: unknown }).moved);
  const [pid] = await rig.pids();
  for (const wire of wires) assert.equal(await visit(wire), `pid ${pid}`);
  for (const wire of wires) wire.socket.destroy();
}
