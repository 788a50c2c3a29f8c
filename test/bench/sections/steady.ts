/** Requests per second and latencies while nothing else happens. */
import { generate } from '../load.ts';
import { type Section, takeTurns, withRunning } from '../section.ts';

const CONNECTIONS = 32;

export const steady: Section = {
  name: 'steady',
  title: 'Steady load',
  about: `wrk (or autocannon) on ${CONNECTIONS} connections, kept alive or fresh for each request. nginx answers from its configuration, gunicorn and puma run programs of their own languages. Two workers, the generator and the system share the machine's cores.`,
  metrics: {
    'requests/s': { unit: '1/s', digits: 0, isCompared: true, isDrawn: true },
    p50: { unit: 'ms', digits: 2 },
    p99: { unit: 'ms', digits: 2, isCompared: true, isDrawn: true },
    errors: { unit: '', digits: 0 },
  },
  goals: [
    { text: 'keep-alive, of bare Node', least: 0.98, value: ({ ratio }) => ratio('keep-alive, 1 worker', 'requests/s') },
    { text: 'fresh connections, of bare Node', least: 0.98, value: ({ ratio }) => ratio('fresh, 1 worker', 'requests/s') },
    {
      text: "fresh connections, 2 workers, of cluster's round robin",
      least: 1.4,
      value: ({ median }) => median('fresh, 2 workers', 'requests/s') / median('fresh, 2 workers', 'requests/s', 'cluster, round robin'),
    },
  ],
  async run(bench, results) {
    for (const workers of [1, 2]) {
      for (const isFresh of [false, true]) {
        const scene = `${isFresh ? 'fresh' : 'keep-alive'}, ${workers} worker${workers > 1 ? 's' : ''}`;
        await takeTurns(
          bench,
          ({ mostWorkers }) => mostWorkers >= workers,
          async (competitor) => {
            bench.say(`${scene}: ${competitor.name}`);
            await withRunning(bench, competitor, { workers }, async ({ port }) => {
              await generate(bench.tools, { port, connections: CONNECTIONS, durationMs: bench.durationMs / 4, isFresh }); // compiles what is hot
              const answer = await generate(bench.tools, { port, connections: CONNECTIONS, durationMs: bench.durationMs, isFresh });
              if (answer !== undefined) results.add(scene, competitor.name, answer);
            });
          },
        );
      }
    }
  },
};
