/** A program takes `close` for a client that has left. A connection that moves by itself is no such thing: its socket tells `close` when its worker ends. */
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { asleep } from '../helpers/chaos.ts';
import { connections, dialHttp, get, visit } from '../helpers/http.ts';
import { overEach } from '../helpers/over-each.ts';
import { startMaster, temporaryFolder } from '../helpers/rig.ts';

const script = 'cancels-on-close.cjs';

overEach('Work for a client whose connection has moved goes on, and its socket tells close when the worker ends', async (over) => {
  using folder = temporaryFolder();
  const [hold, held] = [join(folder.path, 'hold'), join(folder.path, 'held')];
  for (const path of [hold, held]) writeFileSync(path, '');
  await using rig = await startMaster({ over, script, env: { HOLD: hold, HELD: held } });
  const [old] = (await rig.pids()) as [number];
  using worked = await dialHttp(rig);
  using busy = await dialHttp(rig); // keeps the old worker
  busy.write(get('/held'));
  await connections(rig, 2);
  await visit(worked, '/job');
  await rig.hup();
  assert.match(await visit(worked), /^pid/, 'it has moved');
  rmSync(hold);
  await rig.waitFor(() => rig.stdout.includes(`done in ${old}`) || undefined, 'the work to be done');
  assert.ok(!rig.stdout.includes(`closed in ${old}`));
  rmSync(held);
  await rig.until('generation-gone');
  assert.match(rig.stdout, new RegExp(`^closed in ${old}$[^]*^a tick after the close in ${old}$[^]*^exits in ${old}$`, 'm'));
});

overEach('A client that leaves while its connection can not move is told of at once', async (over) => {
  using folder = temporaryFolder();
  const hold = join(folder.path, 'hold');
  writeFileSync(hold, '');
  await using rig = await startMaster({ over, script, env: { HOLD: hold }, flags: ['--no-handoff'] });
  const [old] = (await rig.pids()) as [number];
  const worked = await dialHttp(rig);
  await visit(worked, '/job');
  await rig.hup();
  worked.socket.destroy();
  await rig.waitFor(() => rig.stdout.includes(`closed in ${old}`) || undefined, 'the close to be told');
  await rig.until('generation-gone');
  assert.ok(!rig.stdout.includes('done'));
});

overEach('A SIGTERM listener that waits for its sockets to close is not kept waiting', async (over) => {
  await using rig = await startMaster({ over, script, env: { WAITS: 'yes' }, flags: ['--kill-timeout', '10m'] });
  const [old] = (await rig.pids()) as [number];
  using wire = await dialHttp(rig);
  await visit(wire);
  await rig.hup();
  await rig.until('generation-gone');
  assert.match(rig.stdout, new RegExp(`^told to end in ${old}$[^]*^closed in ${old}$[^]*^exits in ${old}$`, 'm'));
  assert.match(await visit(wire), /^pid/);
});

overEach('A connection that nobody takes goes on with the socket it had', async (over) => {
  using folder = temporaryFolder();
  const hold = join(folder.path, 'hold');
  writeFileSync(hold, '');
  await using rig = await startMaster({ over, script, env: { HOLD: hold }, flags: ['--probation', '1s', '--drain-timeout', '10m'] });
  const [old] = (await rig.pids()) as [number];
  using wire = await dialHttp(rig);
  await visit(wire, '/job');
  rig.forget();
  rig.signal('SIGHUP');
  const stopped = (await rig.until('worker-serving'))['pid'] as number;
  using sleeper = asleep(stopped);
  await rig.until('reload-committed');
  assert.equal(await visit(wire), `pid ${old}`);
  rmSync(hold);
  await rig.waitFor(() => rig.stdout.includes(`done in ${old}`) || undefined, 'the work to be done');
  assert.ok(!rig.stdout.includes('closed'));
  sleeper.wake();
  await rig.until('generation-gone');
  assert.equal(await visit(wire), `pid ${stopped}`);
});
