/**
 * The promise of the handoff over many reloads: no request fails, no connection is dropped, and the master grows in neither
 * descriptors nor memory. `npm run test:soak -- 500` reloads that often.
 */
import { reloadUnderStorm } from '../helpers/move-storm.ts';
import { descriptors, poll, residentMemory, smallHeap, startMaster } from '../helpers/rig.ts';

const clients = 100;
const reloads = Number(process.argv[2] ?? 200);
const warmUp = Math.ceil(reloads / 5);
const MEMORY_GROWTH = 16 * 2 ** 20;

await using rig = await startMaster({ script: 'http-echo.cjs', nodeFlags: smallHeap, env: { KEEP_ALIVE: '60000' } });
const before = descriptors(rig.pid).length;
let warm = 0;
const { failures, answered, opened, resets, byPid } = await reloadUnderStorm(rig, {
  clients,
  reloads,
  onReload(reload, so) {
    const memory = residentMemory(rig.pid);
    if (reload === warmUp) warm = memory;
    const mebibytes = Math.round(memory / 2 ** 20);
    console.log(`reload ${reload}: ${so.answered} answered, ${so.failures.length} failed, ${so.opened} connections, master ${mebibytes} MiB`);
  },
});
const growth = residentMemory(rig.pid) - warm;
let after = before;
const settled = poll(
  () => {
    after = descriptors(rig.pid).length;
    return after <= before;
  },
  () => `the master has ${after} descriptors instead of ${before}:\n${descriptors(rig.pid).join('\n')}`,
);
const complaints = [
  ...failures,
  ...(opened === clients ? [] : [`${opened} connections were opened instead of ${clients}`]),
  ...(resets === 0 ? [] : [`${resets} connections were reset`]),
  ...(byPid.size === reloads + 1 ? [] : [`${byPid.size} processes answered instead of ${reloads + 1}`]),
  ...(growth < MEMORY_GROWTH ? [] : [`the master grew by ${growth} bytes after reload ${warmUp}`]),
  ...(await settled.then(
    () => [],
    (error: Error) => [error.message],
  )),
];
for (const complaint of complaints) console.error(complaint);
console.log(`${reloads} reloads, ${answered} requests, ${failures.length} failed, ${opened} connections opened by ${clients} clients`);
process.exitCode = complaints.length === 0 ? 0 : 1;
