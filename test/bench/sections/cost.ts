/** What supervising costs while nothing happens, and what a worker costs more than the bare program. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BARE, competitors, OURS, start } from '../competitors.ts';
import { pause } from '../ground.ts';
import { monotonicMs } from '../measure.ts';
import { activityOf, memoryOf } from '../probe.ts';
import { program } from '../running.ts';
import { type Bench, type Section, takeTurns, withRunning } from '../section.ts';
import { timeReload } from './reload.ts';

const MASTER = 'who supervises';
const WORKER = 'a worker';
const IDLE = 'idle node';
/** What it does at the start is over, V8's collection of what that left included: it comes some 8 s later. */
const SETTLE_MS = 15_000;

export const cost: Section = {
  name: 'cost',
  title: 'Cost',
  about:
    'Who supervises: memory and activity of the master or daemon with one worker and no request, for 60 s; beside a Node process that does nothing. A worker: memory after 100 requests, and from its spawn to its listening, beside the bare program.',
  metrics: {
    rss: { unit: 'MB', digits: 1, isDrawn: true },
    pss: { unit: 'MB', digits: 1, isDrawn: true },
    'wake-ups': { unit: '', digits: 0 },
    cpu: { unit: 'ms', digits: 0 },
    'worker rss': { unit: 'MB', digits: 1, isCompared: true, isDrawn: true },
    'worker pss': { unit: 'MB', digits: 1 },
    'worker start': { unit: 'ms', digits: 1, isCompared: true, isDrawn: true },
  },
  goals: [
    { text: "master's RSS, of idle Node's", most: 1.25, value: ({ median }) => median(MASTER, 'rss') / median(MASTER, 'rss', IDLE) },
    { text: "worker's RSS beyond the bare program's, MB", most: 2, value: ({ median }) => median(WORKER, 'worker rss') - median(WORKER, 'worker rss', BARE) },
    {
      text: "worker's start beyond the bare program's, ms",
      most: 10,
      value: ({ median }) => median(WORKER, 'worker start') - median(WORKER, 'worker start', BARE),
    },
    { text: 'CPU of the idle master, ms', most: 0, value: ({ median }) => median(MASTER, 'cpu') },
  ],
  async run(bench, results) {
    const waitMs = bench.isQuick ? 3_000 : 60_000;
    await takeTurns(
      bench,
      ({ name, canReload }) => name === BARE || canReload,
      async (competitor) => {
        bench.say(`cost: ${competitor.name}`);
        if (competitor.name === BARE) return results.add(MASTER, IDLE, await watchIdle(bench, waitMs));
        await withRunning(bench, competitor, { workers: 1 }, async ({ pid }) => results.add(MASTER, competitor.name, await watch(pid, waitMs)));
      },
    );
    await takeTurns(
      bench,
      ({ name }) => name === BARE || name === OURS,
      async ({ name }) => {
        bench.say(`cost of a worker: ${name}`);
        results.add(WORKER, name, await weighWorker(bench, name));
      },
    );
  },
};

async function watchIdle({ ground }: Bench, waitMs: number) {
  const child = ground.spawn(process.execPath, [program('idle.cjs')]);
  await once(child, 'spawn');
  const numbers = await watch(child.pid as number, waitMs);
  await ground.end(child, 'SIGKILL');
  return numbers;
}

async function watch(pid: number, waitMs: number) {
  await pause(SETTLE_MS);
  const before = activityOf(pid);
  await pause(waitMs);
  const after = activityOf(pid);
  return { ...memoryOf(pid), 'wake-ups': after.wakeUps - before.wakeUps, cpu: after.cpuMs - before.cpuMs };
}

async function weighWorker(bench: Bench, name: string) {
  const { ground, tools } = bench;
  const competitor = competitors.find((one) => one.name === name);
  if (competitor === undefined) throw new Error(`no competitor ${name}`);
  const running = await start(competitor, { ground, tools, port: await ground.port(), workers: 1 });
  const [worker] = running.workers();
  for (let requests = 0; requests < 100; requests++) await (await fetch(`http://127.0.0.1:${running.port}/`)).text();
  await pause(1_000);
  const { rss, pss } = memoryOf(worker as number);
  await running.stop();
  return { 'worker rss': rss, 'worker pss': pss, 'worker start': await timeWorker(bench, name) };
}

/** From the spawn of the process that serves to its listening, at a reload where there are any: the first one shares the machine with its master's own start. Milliseconds. */
async function timeWorker({ ground, tools }: Bench, name: string): Promise<number> {
  const marks = join(ground.folder(), 'marks');
  const competitor = competitors.find((one) => one.name === name);
  if (competitor === undefined) throw new Error(`no competitor ${name}`);
  const port = await ground.port();
  const from = monotonicMs();
  const running = await start(competitor, { ground, tools, port, workers: 1, marks });
  if (competitor.canReload) await timeReload(running);
  await running.stop();
  const all = readFileSync(marks, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { what: string; at: number; pid: number });
  const spawned = name === BARE ? from : (all.findLast(({ what }) => what === 'spawns')?.at ?? Number.NaN);
  return (all.findLast(({ what }) => what === 'listening')?.at ?? Number.NaN) - spawned;
}
