/** Where descriptors run out, or a program has closed one that it does not know, connections go on, and nothing of the supervisor's ends the program. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Rig, startMaster, temporaryFolder } from '../helpers/rig.ts';
import { dial, type Wire } from '../helpers/wire.ts';

const limits = spawnSync('prlimit', ['--version']).status === 0 ? {} : { skip: 'needs prlimit(1) of util-linux' };
const TICKETS = '4';

/** `soft:hard`, as prlimit takes it; Node raises the soft one to the hard one when it starts. */
function limit(pid: number, most: string): void {
  execFileSync('prlimit', ['--pid', String(pid), `--nofile=${most}`]);
}

/** The process can open none. */
function limitToWhatIsOpen(pid: number): void {
  const open = new Set(readdirSync(`/proc/${pid}/fd`).map(Number));
  let least = 0;
  while (open.has(least)) least++;
  limit(pid, `${least}:`);
}

/** Who answers a line. */
async function answerOf(wire: Wire): Promise<string> {
  const before = wire.text.length;
  wire.write('who?\n');
  await wire.until(({ text }) => text.length > before && text.endsWith('\n'));
  return wire.text.slice(before).trim();
}

async function dialMany(rig: Rig, count: number): Promise<Wire[]> {
  return Promise.all(Array.from({ length: count }, () => dial({ port: rig.port(), host: '127.0.0.1' })));
}

test('A connection whose descriptor gets lost in the successor is answered, and those that come later, too', limits, async () => {
  await using rig = await startMaster({ script: 'fills-descriptors.mjs' });
  const wires = await dialMany(rig, 20);
  for (const wire of wires) await answerOf(wire);
  limit(rig.pid, '200:200'); // what its workers inherit
  rig.forget();
  await rig.hup();
  await rig.waitFor(() => rig.stdout.includes('one descriptor was lost') || undefined, 'the loss');
  const { moved, cut } = await rig.until('generation-gone');
  assert.deepEqual([moved, cut], [{ tcp: 20 }, {}], 'the one that was lost comes back, and moves a second later');
  const [pid] = await rig.pids();
  for (const wire of wires) assert.equal(await answerOf(wire), String(pid));
  for (const wire of wires) wire.socket.destroy();
});

test('A worker without a descriptor left goes on with its connections, says so once, and is not taken for a sick one', limits, async () => {
  await using rig = await startMaster({ script: 'counts-lines.mjs', flags: ['--heartbeat-timeout', '1s'] });
  const [pid] = (await rig.pids()) as [number];
  const [wire] = (await dialMany(rig, 1)) as [Wire];
  await wire.until('hello');
  rig.forget();
  limitToWhatIsOpen(pid);
  const said = await rig.until('worker-note');
  assert.match(said.message, /has no descriptor left/);
  wire.write('fill 1\n');
  await wire.until('x');
  const { workers } = await rig.status();
  assert.deepEqual(
    workers.map((worker) => [worker.pid, worker.rssBytes]),
    [[pid, null]],
  );
  limit(pid, '1000:');
  await rig.waitFor(async () => (await rig.status()).workers[0]?.rssBytes || undefined, 'its memory');
  assert.equal(rig.all('worker-note').length, 1);
  limitToWhatIsOpen(pid);
  await rig.waitFor(() => rig.all('worker-note').length === 2 || undefined, 'what it says when it has none left once more');
  wire.socket.destroy();
});

for (const own of [false, true]) {
  test(`A program that has closed a descriptor that it does not know${own ? ', and uses its number for a file of its own,' : ''} is given no connections, and none is lost`, async () => {
    using folder = temporaryFolder();
    const file = join(folder.path, 'own');
    writeFileSync(file, 'its own bytes');
    await using rig = await startMaster({ script: 'closes-descriptors.mjs', env: { UNKNOWN: TICKETS, OWN: own ? file : '' }, flags: ['--idle-grace', '30s'] });
    const [wire] = (await dialMany(rig, 1)) as [Wire];
    const before = await answerOf(wire);
    rig.forget();
    await rig.hup();
    assert.match((await rig.until('worker-note')).message, /its program has closed descriptor 4/);
    assert.equal(await answerOf(wire), before, 'it stays where it was');
    if (own) {
      const [pid] = (await rig.pids()) as [number];
      assert.ok(rig.stdout.includes(`own file: ${TICKETS}\n`));
      process.kill(pid, 'SIGUSR2');
      await rig.waitFor(() => rig.stdout.includes('reads: its own bytes\n') || undefined, 'what it reads');
    }
    wire.socket.end();
  });
}
