/** A program that forks a cluster by itself does so as it does plainly; its listeners are in custody, and its workers finish what they have. */
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ask, type Rig, startMaster, temporaryFolder } from '../helpers/rig.ts';
import { startStorm } from '../helpers/storm.ts';
import { dial } from '../helpers/wire.ts';

const script = 'forks-cluster.cjs';

test('Its workers finish what they have, and no client is refused: a storm over 3 reloads', async () => {
  await using rig = await startMaster({ script });
  const storm = startStorm({ port: rig.port(), keepAlive: 0, fresh: 10 });
  for (let reload = 0; reload < 3; reload++) {
    await storm.answered(100);
    const [old] = await rig.pids();
    assert.equal((await rig.hup())['outcome'], 'committed');
    await rig.until('worker-stopped', ({ pid }) => pid === old);
    assert.deepEqual(endsOf(rig, old), ['0', '0']);
  }
  await storm.answered(100);
  const { failures, byPid } = await storm.stop();
  assert.deepEqual(failures, []);
  assert.equal(byPid.size, 8, 'each worker of each generation answered something');
});

test('An answer that a worker of it has begun is complete before a stop ends it', async () => {
  await using rig = await startMaster({ script });
  using wire = await dial({ port: rig.port(), host: '127.0.0.1' });
  wire.write('GET /?stream=300 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
  await wire.until('200 OK');
  const stopped = rig.stop();
  assert.equal(await wire.end(), 'FIN');
  assert.match(wire.text, /"fill":""\}/);
  assert.equal((await stopped).code, 0);
});

test('Workers of new code accept nothing before their program is ready, though they listen', async () => {
  using folder = temporaryFolder();
  const gate = join(folder.path, 'gate');
  writeFileSync(gate, '');
  await using rig = await startMaster({ script, flags: ['--wait-ready'], env: { GATE: gate } });
  const old = await rig.waitFor(() => (listeningIn(rig).length === 2 ? listeningIn(rig) : undefined), 'both workers');
  rmSync(gate);
  rig.signal('SIGHUP');
  await rig.waitFor(() => listeningIn(rig).length === 4 || undefined, 'the new workers');
  for (let count = 0; count < 20; count++) assert.ok(old.includes(await pidAt(rig)));
  writeFileSync(gate, '');
  assert.equal((await rig.until('reload-finished', ({ generation }) => generation === 2))['outcome'], 'committed');
  await rig.until('generation-gone');
  assert.ok(!old.includes(await pidAt(rig)));
});

async function pidAt(rig: Rig): Promise<number> {
  return (JSON.parse((await ask(rig.url())).text) as { pid: number }).pid;
}

function listeningIn(rig: Rig): number[] {
  return [...rig.stdout.matchAll(/^listening (\d+)$/gm)].map(([, pid]) => Number(pid));
}

function endsOf(rig: Rig, primary: number | undefined): string[] {
  return [...rig.stdout.matchAll(new RegExp(`^\\d+ of ${primary} ended: (.*)$`, 'gm'))].map(([, end]) => end as string);
}
