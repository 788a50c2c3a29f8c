/** To Node a connection that has moved looks brand-new; to its client its timeouts go on as if nothing had happened. */
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { asleep } from '../helpers/chaos.ts';
import { answer, connections, dialHttp, get, visit } from '../helpers/http.ts';
import { kinds, overEach } from '../helpers/over-each.ts';
import { poll, startMaster, temporaryFolder } from '../helpers/rig.ts';

const KEEP_ALIVE_MS = 5_000;
const PATIENCE_MS = 60_000;

overEach('However often it moves, an idle connection ends when its keep-alive timeout is over, with FIN; a slow handler beside it is not cut', async (over) => {
  using folder = temporaryFolder();
  const hold = join(folder.path, 'hold');
  writeFileSync(hold, '');
  await using rig = await startMaster({ over, script: 'http-timeouts.cjs', env: { KEEP_ALIVE: String(KEEP_ALIVE_MS), HOLD: hold } });
  using idle = await dialHttp(rig);
  using busy = await dialHttp(rig);
  const startedAt = performance.now();
  await Promise.all([visit(idle), visit(busy)]);
  const { connections } = await rig.hup();
  assert.deepEqual((connections as { moved: object }).moved, { [kinds[over].http]: 2 });
  idle.text = busy.text = '';
  busy.write(get('/held'));
  while (idle.ended === undefined && performance.now() - startedAt < PATIENCE_MS) await rig.hup();
  assert.equal(idle.ended, 'FIN');
  assert.equal(idle.text, '');
  assert.ok(performance.now() - startedAt >= KEEP_ALIVE_MS, 'it ended too early');
  assert.equal(busy.ended, undefined);
  rmSync(hold);
  assert.match(await answer(busy), /^pid \d+$/);
  assert.match(await visit(busy), /^pid \d+$/);
});

test('A connection that nobody takes ends when its keep-alive timeout is over, too', async () => {
  const flags = ['--probation', '1s', '--idle-grace', '10m', '--drain-timeout', '10m'];
  await using rig = await startMaster({ script: 'http-timeouts.cjs', env: { KEEP_ALIVE: '3000' }, flags });
  const [old] = await rig.pids();
  using wire = await dialHttp(rig);
  await visit(wire);
  rig.forget();
  rig.signal('SIGHUP');
  using sleeper = asleep((await rig.until('worker-serving'))['pid'] as number);
  await rig.until('reload-finished');
  await visit(wire);
  wire.text = '';
  await poll(
    async () => !(await rig.status()).workers.some(({ pid, connections }) => pid === old && connections !== 0),
    () => 'it is not closed',
  );
  sleeper.wake(); // until then the kernel has a copy in its channel
  assert.equal(await wire.end(), 'FIN');
  assert.equal(wire.text, '');
});

test('A connection that has moved before its first request is not timed out where it was', async () => {
  using folder = temporaryFolder();
  const hold = join(folder.path, 'hold');
  writeFileSync(hold, '');
  await using rig = await startMaster({ script: 'http-timeouts.cjs', env: { HEADERS: '1000', HOLD: hold } });
  const [old] = await rig.pids();
  using unused = await dialHttp(rig);
  using busy = await dialHttp(rig); // keeps the old worker
  busy.write(get('/held'));
  await connections(rig, 2);
  await rig.hup();
  using fresh = await dialHttp(rig);
  assert.equal(await fresh.end(), 'FIN');
  await rig.waitFor(() => rig.stdout.includes('refused') || undefined, 'the timeout');
  rmSync(hold);
  await rig.until('generation-gone');
  assert.doesNotMatch(rig.stdout, new RegExp(`in ${old}$`, 'm'));
  unused.socket.destroy();
});

for (const [name, keepAlive] of [
  ['longer than headersTimeout', '60000'],
  ['without end', '0'],
] as const)
  test(`With a keep-alive timeout ${name} no connection that has moved is answered with an unasked-for 408`, async () => {
    await using rig = await startMaster({ script: 'http-timeouts.cjs', env: { KEEP_ALIVE: keepAlive, HEADERS: '1000' } });
    using moved = await dialHttp(rig);
    using spoken = await dialHttp(rig);
    await Promise.all([visit(moved), visit(spoken)]);
    for (let reload = 0; reload < 3; reload++) {
      await rig.hup();
      assert.match(await visit(spoken), /^pid \d+$/);
    }
    moved.text = spoken.text = '';
    using fresh = await dialHttp(rig);
    assert.equal(await fresh.end(), 'FIN');
    assert.match(fresh.text, /^HTTP\/1.1 408 /, 'a connection that came later has met the timeout');
    assert.deepEqual([moved.text, moved.ended, spoken.text, spoken.ended], ['', undefined, '', undefined]);
    await connections(rig, 2);
    assert.match(await visit(moved), /^pid \d+$/);
  });

overEach('A request that stops half-way meets headersTimeout on a connection that has moved, too', async (over) => {
  await using rig = await startMaster({ over, script: 'http-timeouts.cjs', env: { HEADERS: '1000' } });
  using wire = await dialHttp(rig);
  await visit(wire);
  await rig.hup();
  wire.text = '';
  wire.write('GET / HTTP/1.1\r\nHo');
  assert.equal(await wire.end(), 'FIN');
  assert.match(wire.text, /^HTTP\/1.1 408 /);
});

overEach('What cuts silent connections cuts none that waits for its next request after a move; a request on it meets that timeout', async (over) => {
  using folder = temporaryFolder();
  const hold = join(folder.path, 'hold');
  writeFileSync(hold, '');
  await using rig = await startMaster({ over, script: 'http-timeouts.cjs', env: { TIMEOUT: '500', HOLD: hold } });
  using idle = await dialHttp(rig);
  using asking = await dialHttp(rig);
  await Promise.all([visit(idle), visit(asking)]);
  const { connections } = await rig.hup();
  assert.deepEqual((connections as { moved: object }).moved, { [kinds[over].http]: 2 });
  using fresh = await dialHttp(rig);
  assert.equal(await fresh.end(), 'FIN');
  assert.deepEqual([idle.ended, asking.ended], [undefined, undefined], 'one that came later has met the timeout');
  assert.equal(rig.stdout.match(/timed out/g)?.length, 1);
  await visit(asking);
  asking.write(get('/held'));
  assert.equal(await asking.end(), 'FIN');
  assert.equal(idle.ended, undefined);
  idle.write(get('/held')); // its first here
  assert.equal(await idle.end(), 'FIN');
});
