/** What clients notice of reloads: what no load generator counts. */
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Running } from '../competitors.ts';
import { isAlive, pause } from '../ground.ts';
import { monotonicMs, quantile, type Span } from '../measure.ts';
import { type Bench, type Section, takeTurns, withRunning } from '../section.ts';
import type { StormAccount, StormOrder } from '../storm-clients.ts';

const CLIENTS = fileURLToPath(new URL('../storm-clients.ts', import.meta.url));
const [KEPT, FRESH] = [50, 10];
const WORKERS = 2;
const SLOW_MS = 10;
const SCENE = '2 workers';

export const storm: Section = {
  name: 'storm',
  title: 'Reload storm',
  about: `${KEPT} clients that keep their connections and ${FRESH} that open one for each request send POSTs, with up to 40 ms between two; 8 reloads in 20 s, of ${WORKERS} workers where there can be several. A request fails if it was sent and not answered with 200. Latencies are those of requests that waited while old workers were still there, which is long for who takes his time; and of all; and so many of all took more than ${SLOW_MS} ms.`,
  metrics: {
    failed: { unit: 'requests', digits: 0, isDrawn: true },
    opened: { unit: 'connections', digits: 0, isDrawn: true },
    p99: { unit: 'ms', digits: 1, isDrawn: true },
    max: { unit: 'ms', digits: 0 },
    'p99 of all': { unit: 'ms', digits: 1 },
    slow: { unit: 'requests', digits: 0 },
    answered: { unit: 'requests', digits: 0 },
  },
  goals: [
    { text: 'failed requests', most: 0, value: ({ median }) => median(SCENE, 'failed') },
    { text: 'connections that the 50 had to open', most: KEPT, value: ({ median }) => median(SCENE, 'opened') },
    { text: "p99 during reloads, of PM2's", most: 1, value: ({ median }) => median(SCENE, 'p99') / median(SCENE, 'p99', 'PM2') },
  ],
  async run(bench, results) {
    await takeTurns(
      bench,
      ({ canReload }) => canReload,
      async (competitor) => {
        bench.say(`storm: ${competitor.name}`);
        await withRunning(bench, competitor, { workers: Math.min(WORKERS, competitor.mostWorkers) }, async (running) => {
          const { account, spans } = await runStorm(bench, running);
          if (account.failed > 0)
            bench.note(
              `storm, ${competitor.name}, failed: ${Object.entries(account.reasons)
                .map(([reason, count]) => `${count} × ${reason}`)
                .join(', ')}`,
            );
          const during = account.times
            .filter(([sent, answered]) => spans.some(([from, to]) => sent < to && answered > from))
            .map(([sent, answered]) => answered - sent);
          const all = account.times.map(([sent, answered]) => answered - sent);
          results.add(SCENE, competitor.name, {
            failed: account.failed,
            opened: account.opened,
            p99: quantile(during, 0.99),
            max: quantile(during, 1),
            'p99 of all': quantile(all, 0.99),
            slow: all.filter((time) => time > SLOW_MS).length,
            answered: account.answered,
          });
        });
      },
    );
  },
};

async function runStorm({ ground, isQuick }: Bench, running: Running): Promise<{ account: StormAccount; spans: Span[] }> {
  const clients = ground.spawn(process.execPath, ['--import', 'tsx', CLIENTS], { ipc: true, cwd: process.cwd() });
  clients.send({ port: running.port, kept: KEPT, fresh: FRESH } satisfies StormOrder);
  const everyMs = 2_500;
  await pause(everyMs);
  const spans: Span[] = [];
  for (let reload = 0; reload < (isQuick ? 3 : 8); reload++) {
    const old = running.workers();
    const from = monotonicMs();
    void running.reload().catch(() => {}); // seen by what comes of it
    while (old.some(isAlive) && monotonicMs() < from + everyMs) await pause(10);
    spans.push([from, monotonicMs()]);
    await pause(Math.max(0, from + everyMs - monotonicMs()));
  }
  const answer = once(clients, 'message') as Promise<[StormAccount]>;
  clients.send('stop');
  const [account] = await answer;
  return { account, spans };
}
