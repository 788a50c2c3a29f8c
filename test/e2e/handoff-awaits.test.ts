/** Connections while those who are to go on with them are stopped, dying, draining or out of reach for the moment. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { asleep, patient, WINDOW } from '../helpers/chaos.ts';
import { Crowd } from '../helpers/crowd.ts';
import { answer, dialHttp, visit } from '../helpers/http.ts';
import { poll, startMaster, temporaryFolder } from '../helpers/rig.ts';
import { dial, type Wire } from '../helpers/wire.ts';

/** More messages than the channel of a stopped worker holds, a few at a time. */
const FILLINGS = 4;
const FILLING = 150;

test('A successor that is stopped, its channel full: connections come back, and move when it is awake again', async () => {
  await using rig = await startMaster({ script: 'counts-requests.mjs', flags: [...patient, '--probation', '5s'] });
  using crowd = new Crowd(rig);
  await crowd.fill(WINDOW, ['tcp']); // whose program hears of those that come back
  const [old] = (await rig.pids()) as [number];
  rig.forget();
  rig.signal('SIGHUP');
  const stopped = (await rig.until('worker-serving'))['pid'] as number;
  using sleeper = asleep(stopped);
  for (let round = 0; round < FILLINGS; round++) await Promise.all(Array.from({ length: FILLING }, () => rig.status()));
  await rig.until('reload-committed');
  await rig.waitFor(() => crowd.clients.every((client) => crowd.hasComeBack(client, old)) || undefined, 'all to come back');
  sleeper.wake();
  const { moved } = await rig.until('generation-gone');
  assert.deepEqual(moved, { tcp: WINDOW });
  await crowd.askAll();
  assert.deepEqual(crowd.mistakes, []);
});

test('The only successor dies: until it is replaced no answer ends a connection, and no idle one is closed', async () => {
  const flags = ['--idle-grace', '50ms', '--drain-timeout', '10m', '--backoff-min', '800ms', '--backoff-max', '800ms'];
  await using rig = await startMaster({ script: 'counts-requests.mjs', flags });
  using wire = await dialHttp(rig);
  wire.write('POST /busy HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n');
  await poll(
    async () => (await rig.status()).workers[0]?.connections === 1,
    () => 'the connection is not accepted',
  );
  const [old] = (await rig.pids()) as [number];
  await rig.hup();
  const [successor] = (await rig.pids()) as [number];
  rig.forget();
  process.kill(successor, 'SIGKILL');
  await rig.until('worker-crashed');
  await rig.status(); // its question comes after what the old worker is told
  wire.write('hello');
  await answer(wire);
  assert.doesNotMatch(wire.text, /^connection: close/im);
  const { pid } = await rig.until('worker-serving');
  const { moved, closed } = await rig.until('generation-gone');
  assert.deepEqual([moved, closed], [{ http: 1 }, {}]);
  assert.ok(!rig.stdout.includes(`adopted ${old} `), 'it is offered to nobody until somebody is there');
  assert.equal((JSON.parse(await visit(wire)) as { pid: number }).pid, pid);
});

test('A successor that begins to drain itself passes nothing up: all go on in the one that replaces it', async () => {
  const flags = ['--idle-grace', '50ms', '--drain-timeout', '10m', '--backoff-min', '1ms'];
  using folder = temporaryFolder();
  await using rig = await startMaster({ script: 'withdraws-in-adopt.mjs', env: { MARK: join(folder.path, 'mark') }, flags });
  const wires = await Promise.all(Array.from({ length: 2 * WINDOW }, () => dial({ port: rig.port(), host: '127.0.0.1' })));
  for (const wire of wires) await line(wire);
  await rig.hup();
  const { moved } = await rig.until('generation-gone');
  assert.deepEqual(moved, { tcp: 2 * WINDOW });
  await poll(
    async () => (await rig.status()).workers.length === 1,
    () => `the one that drains is still there: ${rig.stderr}`,
  );
  const [pid] = await rig.pids();
  for (const wire of wires) assert.equal(await line(wire), `pid ${pid}\n`);
  assert.deepEqual(rig.all('worker-note'), []);
  for (const wire of wires) wire.socket.destroy();
});

test('In flight at the drain timeout: what nobody adopts is counted as cut, not as ended', async () => {
  const flags = ['--idle-grace', '10m', '--drain-timeout', '800ms', '--probation', '500ms'];
  await using rig = await startMaster({ script: 'counts-requests.mjs', flags });
  using crowd = new Crowd(rig);
  await crowd.fill(2 * WINDOW, ['tcp']);
  rig.forget();
  rig.signal('SIGHUP');
  using sleeper = asleep((await rig.until('worker-serving'))['pid'] as number);
  const { moved, closed, cut } = await rig.until('worker-drained');
  assert.deepEqual([moved, closed], [{}, {}]);
  assert.ok((cut as { tcp: number }).tcp >= WINDOW, `cut: ${JSON.stringify(cut)}`);
  sleeper.wake();
});

test('A stop: a raw connection whose program says "not now" is not closed for being idle', async () => {
  await using rig = await startMaster({
    script: 'counts-lines.mjs',
    env: { EXPORTS: 'whole lines' },
    flags: ['--idle-grace', '50ms', '--drain-timeout', '10m'],
  });
  using busy = await dial({ port: rig.port(), host: '127.0.0.1' });
  using idle = await dial({ port: rig.port(), host: '127.0.0.1' });
  for (const wire of [idle, busy]) await line(wire);
  busy.write('half ');
  await line(idle); // it is read by now
  busy.text = '';
  const stopped = rig.stop();
  assert.equal(await idle.end(), 'FIN');
  busy.write('line\n');
  assert.equal(await busy.end(), 'FIN');
  assert.equal(busy.text, '2 1 0 half line\n');
  await stopped;
});

test('The master is killed while connections move: programs hear of it', async () => {
  await using rig = await startMaster({
    script: 'counts-lines.mjs',
    env: { EXPORTS: 'whole lines' },
    flags: ['--idle-grace', '50ms', '--drain-timeout', '10m'],
  });
  using wire = await dial({ port: rig.port(), host: '127.0.0.1' });
  await line(wire);
  wire.write('half ');
  await rig.hup();
  process.kill(rig.pid, 'SIGSTOP');
  wire.write('line\n');
  await poll(
    () => rig.stdout.includes('handed off in 1'),
    () => `it is not offered: ${rig.stdout}`,
  );
  process.kill(rig.pid, 'SIGKILL');
  await rig.finished; // all has been read, and nobody is left who could say more
  await rig.gone();
  for (const generation of [1, 2]) assert.match(rig.stdout, new RegExp(`^disconnected in ${generation}$`, 'm'));
});

/** One line and its answer. */
async function line(wire: Wire): Promise<string> {
  wire.text = '';
  wire.write('line\n');
  await wire.until(/^(?!hello).*\n$/m);
  return wire.text;
}
