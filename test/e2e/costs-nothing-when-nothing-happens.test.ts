/** What a master does while its workers serve, as the kernel counts it: Linux tells in /proc what a process has read and written, and how often it has run. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { dialHttp, visit } from '../helpers/http.ts';
import { ask, poll, startMaster } from '../helpers/rig.ts';

const skip = process.platform === 'linux' ? false : 'needs /proc';
const REQUESTS = 300;
/** A timer that was armed before may still go off. */
const FEW_TURNS = 10;

/** Bytes that the process has read and written, and how often it waited for something. */
function workOf(pid: number): { readonly bytes: string; readonly turns: number } {
  const io = readFileSync(`/proc/${pid}/io`, 'utf8');
  const bytes = io
    .split('\n')
    .filter((line) => /^[rw]char/.test(line))
    .join(', ');
  return { bytes, turns: Number(/^voluntary_ctxt_switches:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) };
}

/** Its start is over, with all that was put off until then. */
async function whenQuiet(pid: number): Promise<ReturnType<typeof workOf>> {
  let last = workOf(pid);
  await poll(
    () => {
      const before = last;
      last = workOf(pid);
      return before.turns === last.turns && before.bytes === last.bytes;
    },
    () => `the master is never quiet: ${JSON.stringify(last)}`,
  );
  return last;
}

test('It costs nothing when nothing happens: no byte of traffic or output goes through the master, and it is not woken', { skip }, async () => {
  // a heartbeat is a message, and so is the first look at how a worker is
  await using rig = await startMaster({ script: 'writes-each-request.cjs', flags: ['--workers', '2', '--heartbeat-timeout', '0'] });
  using wire = await dialHttp(rig);
  await visit(wire);
  await rig.waitFor(() => (rig.stdout.includes('request') ? true : undefined), 'output of a worker');
  const before = await whenQuiet(rig.pid);
  for (let count = 0; count < REQUESTS; count++) {
    await visit(wire, '/kept');
    await ask(rig.url());
  }
  await rig.waitFor(() => (rig.stdout.split('request').length > 2 * REQUESTS ? true : undefined), 'a line of output for each request');
  const after = workOf(rig.pid);
  assert.equal(after.bytes, before.bytes);
  assert.ok(after.turns - before.turns <= FEW_TURNS, `the master ran ${after.turns - before.turns} times`);
});
