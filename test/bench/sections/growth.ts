/** What grows with workers, connections and reloads; ours alone. */
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { AT_ONCE, competitors, OURS } from '../competitors.ts';
import { isAlive, pause, until } from '../ground.ts';
import { monotonicMs } from '../measure.ts';
import { descriptorsOf, memoryOf } from '../probe.ts';
import type { Results } from '../results.ts';
import type { Running } from '../running.ts';
import { type Bench, type Section, withRunning } from '../section.ts';
import { timeReload } from './reload.ts';

const HOLDER = fileURLToPath(new URL('../programs/holds-connections.mjs', import.meta.url));
/** Each holder stays well below the usual limit of descriptors. */
const HELD_BY_ONE = 5_000;
/** By then V8 has collected what the reloads left. */
const SETTLE_MS = 20_000;

export const growth: Section = {
  name: 'growth',
  title: 'Growth',
  about:
    'Memory and descriptors of the master, and the time that a reload takes until no old worker is left: with more workers, with more idle keep-alive connections (one worker; they move at the reload), and after more reloads, where memory is read when V8 has collected what they left.',
  chart: 'curves',
  metrics: {
    rss: { unit: 'MB', digits: 1, isDrawn: true },
    pss: { unit: 'MB', digits: 1 },
    descriptors: { unit: '', digits: 0, isDrawn: true },
    reload: { unit: 'ms', digits: 0, isDrawn: true },
  },
  goals: [
    {
      text: 'descriptors after the last reload, beyond those after the first',
      most: 0,
      value: ({ median }) =>
        Math.max(...[50, 1000].map((count) => median(`${count} reloads`, 'descriptors')).filter((n) => !Number.isNaN(n))) - median('1 reloads', 'descriptors'),
    },
    {
      text: 'RSS after 1,000 reloads, of that after 100',
      most: 1.1,
      value: ({ median }) => median('1000 reloads', 'rss') / median('100 reloads', 'rss'),
    },
  ],
  async run(bench, results) {
    const ours = competitors.find(({ name }) => name === OURS);
    if (ours === undefined) return;
    for (let round = 0; round < bench.rounds; round++) {
      for (const workers of bench.isQuick ? [1, 2, 8] : [1, 2, 8, 32]) {
        bench.say(`growth: ${workers} workers`);
        await withRunning(bench, ours, { workers, flags: AT_ONCE }, (running) => takeDown(results, `${workers} workers`, running));
      }
      for (const count of bench.isQuick ? [10, 1_000] : [10, 1_000, 10_000]) {
        bench.say(`growth: ${count} connections`);
        await withRunning(bench, ours, { workers: 1, flags: [...AT_ONCE, '--drain-timeout', '5m'] }, (running) =>
          withConnections(bench, running.port, count, () => takeDown(results, `${count} connections`, running)),
        );
      }
      bench.say('growth: reloads');
      await withRunning(bench, ours, { workers: 1, flags: [...AT_ONCE, '--log-level', 'error'] }, (running) => reloadOften(bench, results, running));
    }
  },
};

async function takeDown(results: Results, scene: string, running: Running): Promise<void> {
  const before = { ...memoryOf(running.pid), descriptors: descriptorsOf(running.pid) };
  const old = running.workers();
  const from = monotonicMs();
  await running.reload();
  await until(() => !old.some(isAlive) && running.workers().length > 0, 'the old workers to end', 2);
  results.add(scene, OURS, { ...before, reload: monotonicMs() - from });
}

async function reloadOften({ isQuick }: Bench, results: Results, running: Running): Promise<void> {
  const stops = isQuick ? [1, 10, 50] : [1, 100, 1_000];
  for (let count = 1; count <= (stops.at(-1) ?? 0); count++) {
    const { gone } = await timeReload(running);
    if (!stops.includes(count)) continue;
    await pause(isQuick ? 0 : SETTLE_MS);
    results.add(`${count} reloads`, OURS, { ...memoryOf(running.pid), descriptors: descriptorsOf(running.pid), reload: gone });
  }
}

async function withConnections({ ground }: Bench, port: number, count: number, measure: () => Promise<void>): Promise<void> {
  const shares = Array.from({ length: Math.ceil(count / HELD_BY_ONE) }, (_, index) => Math.min(HELD_BY_ONE, count - index * HELD_BY_ONE));
  const holders = shares.map((share) => ground.spawn(process.execPath, [HOLDER, String(port), String(share)], { ipc: true }));
  await Promise.all(
    holders.map(async (holder) => {
      const [answer] = await Promise.race([once(holder, 'message'), once(holder, 'exit')]);
      if (answer !== 'held') throw new Error(`the connections can't be held (${answer}); is the limit of descriptors high enough?`);
    }),
  );
  await measure();
  for (const holder of holders) holder.kill('SIGKILL');
}
