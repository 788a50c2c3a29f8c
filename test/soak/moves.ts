/**
 * Moves connections 100,000 times, and looks whether descriptors or memory of the master grow. Run by hand after a build:
 * `npx tsx test/soak/moves.ts [MOVES]`.
 */
import assert from 'node:assert/strict';
import { moveAround, patient } from '../helpers/chaos.ts';
import { Crowd } from '../helpers/crowd.ts';
import { descriptors, poll, residentMemory, smallHeap, startMaster } from '../helpers/rig.ts';

const EACH = 250;
const STRIDE = 20;
const MEMORY_GROWTH = 16 * 2 ** 20;
const goal = Number(process.argv[2] ?? 100_000);

await using rig = await startMaster({ script: 'counts-requests.mjs', flags: patient, nodeFlags: smallHeap });
using crowd = new Crowd(rig);
await crowd.fill(EACH);
await moveAround(rig, crowd, STRIDE);
const warm = residentMemory(rig.pid);
const open = async () => [descriptors(rig.pid).length, ...(await rig.pids()).map((pid) => descriptors(pid).length)];
const before = String(await open());
const startedAt = performance.now();
for (let moves = 0; moves < goal; ) {
  moves += await moveAround(rig, crowd, Math.min(STRIDE, Math.ceil((goal - moves) / crowd.clients.length)));
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(0);
  const memory = (residentMemory(rig.pid) / 1024 / 1024).toFixed(0);
  console.log(`${moves} moves after ${seconds} s: ${crowd.answers} answers, master ${memory} MiB, descriptors ${await open()}`);
}
await poll(
  async () => String(await open()) === before,
  () => `descriptors of master and worker: ${before} before, master now: ${descriptors(rig.pid)}`,
);
assert.deepEqual(crowd.mistakes, []);
assert.ok(residentMemory(rig.pid) - warm < MEMORY_GROWTH, 'the memory of the master grew');
console.log('no descriptor is left, no answer was wrong');
