/** What clients notice of reloads: what no load generator counts. */
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { BARE } from '../competitors.ts';
import type { Protocol } from '../connections.ts';
import { isAlive, pause } from '../ground.ts';
import { monotonicMs, quantile, type Span } from '../measure.ts';
import type { Goal } from '../results.ts';
import type { Running } from '../running.ts';
import { type Bench, type Section, takeTurns, withRunning } from '../section.ts';
import type { StormAccount, StormOrder } from '../storm-clients.ts';

const CLIENTS = fileURLToPath(new URL('../storm-clients.ts', import.meta.url));
const [KEPT, FRESH] = [50, 10];
const WORKERS = 2;
const SLOW_MS = 10;
/** WebSockets without TLS are what they are with it, but for the `--handoff-tls` that they need not. */
const spoken: readonly Protocol[] = ['http', 'https', 'wss', 'h2c', 'h2'];
const sceneOf = (protocol: Protocol) => `${protocol}, 2 workers`;
const SCENE = sceneOf('http');

export const storm: Section = {
  name: 'storm',
  title: 'Reload storm',
  about: `${KEPT} clients that keep their connections and ${FRESH} that open one for each request send POSTs, with up to 40 ms between two; 8 reloads in 20 s, or as many seconds more as their commands take, of ${WORKERS} workers where there can be several. A request fails if it was sent and not answered with 200; with wss, a message. nginx and HAProxy answer by themselves, and pass WebSockets on to a program that is not reloaded; bare Node is ended, after 2 s by SIGKILL, and started again. Latencies are those of requests that waited while old workers were still there, which is long for who takes his time; and of all; and so many of all took more than ${SLOW_MS} ms.`,
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
    ...spoken.flatMap((protocol): Goal[] => [
      { text: `${protocol}: failed requests`, most: 0, value: ({ median }) => median(sceneOf(protocol), 'failed') },
      { text: `${protocol}: connections that the 50 had to open`, most: KEPT, value: ({ median }) => median(sceneOf(protocol), 'opened') },
    ]),
    { text: "p99 during reloads, of PM2's", most: 1, value: ({ median }) => median(SCENE, 'p99') / median(SCENE, 'p99', 'PM2') },
  ],
  async run(bench, results) {
    for (const protocol of spoken.filter((one) => bench.speaks(one))) {
      await takeTurns(
        bench,
        ({ canReload, name, speaks }) => speaks.includes(protocol) && (canReload || name === BARE),
        async (competitor) => {
          bench.say(`storm, ${protocol}: ${competitor.name}`);
          await withRunning(bench, competitor, { workers: Math.min(WORKERS, competitor.mostWorkers), protocol }, async (running) => {
            const { account, spans } = await runStorm(bench, running, protocol);
            const reasons = Object.entries(account.reasons).map(([reason, count]) => `${count} × ${reason}`);
            if (reasons.length > 0) bench.note(`storm, ${protocol}, ${competitor.name}, failed: ${reasons.join(', ')}`);
            results.add(sceneOf(protocol), competitor.name, sumUp(account, spans));
          });
        },
      );
    }
  },
};

function sumUp({ failed, opened, answered, times }: StormAccount, spans: readonly Span[]) {
  const isDuring = ([sent, answeredAt]: Span) => spans.some(([from, to]) => sent < to && answeredAt > from);
  const lasted = ([sent, answeredAt]: Span) => answeredAt - sent;
  const during = times.filter(isDuring).map(lasted);
  const all = times.map(lasted);
  return {
    failed,
    opened,
    p99: quantile(during, 0.99),
    max: quantile(during, 1),
    'p99 of all': quantile(all, 0.99),
    slow: all.filter((time) => time > SLOW_MS).length,
    answered,
  };
}

async function runStorm({ ground, isQuick }: Bench, running: Running, protocol: Protocol): Promise<{ account: StormAccount; spans: Span[] }> {
  const clients = ground.spawn(process.execPath, ['--import', 'tsx', CLIENTS], { ipc: true, cwd: process.cwd() });
  clients.send({ port: running.port, protocol, kept: KEPT, fresh: FRESH } satisfies StormOrder);
  const everyMs = 2_500;
  await pause(everyMs);
  const spans: Span[] = [];
  for (let reload = 0; reload < (isQuick ? 3 : 8); reload++) {
    const old = running.workers();
    const from = monotonicMs();
    const told = running.reload().catch(() => {}); // seen by what comes of it
    while (old.some(isAlive) && monotonicMs() < from + everyMs) await pause(10);
    await told;
    spans.push([from, monotonicMs()]);
    await pause(Math.max(0, from + everyMs - monotonicMs()));
  }
  const answer = once(clients, 'message') as Promise<[StormAccount]>;
  clients.send('stop');
  const [account] = await answer;
  return { account, spans };
}
