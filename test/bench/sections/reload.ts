/** From the order to reload until new code answers, and until old code is gone; with nobody connected. */
import { AT_ONCE, BARE, type Competitor, OURS } from '../competitors.ts';
import { answerOf, isAlive, pause, until } from '../ground.ts';
import { monotonicMs, quantile } from '../measure.ts';
import type { Running } from '../running.ts';
import { type Bench, type Section, takeTurns, withRunning } from '../section.ts';

const SCENE = '1 worker';
/** The start is over then, what is loaded a moment later included. */
const SETTLE_MS = 1_000;

export const reload: Section = {
  name: 'reload',
  title: 'Reload time',
  about:
    'From the order (a signal; for PM2 its command) to the first answer of a new worker, and until no old one is left; one worker, a fresh request at a time; the middle one of three reloads, a second after the start. For bare Node: from its command to its first answer.',
  metrics: {
    serving: { unit: 'ms', digits: 0, isCompared: true, isDrawn: true },
    gone: { unit: 'ms', digits: 0, isDrawn: true },
  },
  goals: [{ text: 'until serving, of the bare start', most: 1.3, value: ({ ratio }) => ratio(SCENE, 'serving', OURS) }],
  async run(bench, results) {
    await takeTurns(
      bench,
      ({ canReload, name }) => canReload || name === BARE,
      async (competitor) => {
        bench.say(`reload: ${competitor.name}`);
        if (competitor.name === BARE) return results.add(SCENE, BARE, { serving: await timeStart(bench, competitor) });
        await withRunning(bench, competitor, { workers: 1, flags: AT_ONCE }, async (running) => {
          await pause(SETTLE_MS);
          const times = [await timeReload(running), await timeReload(running), await timeReload(running)];
          const middle = (of: 'serving' | 'gone') =>
            quantile(
              times.map((time) => time[of]),
              0.5,
            );
          results.add(SCENE, competitor.name, { serving: middle('serving'), gone: middle('gone') });
        });
      },
    );
  },
};

/** From the command to the first answer; milliseconds. */
export async function timeStart({ ground, tools }: Bench, competitor: Competitor, workers = 1): Promise<number> {
  const port = await ground.port();
  const from = monotonicMs();
  const running = await competitor.launch({ ground, tools, port, workers });
  await until(async () => (await answerOf(port)) !== undefined, `${competitor.name} to answer`, 1);
  const lasted = monotonicMs() - from;
  await running.stop();
  return lasted;
}

export async function timeReload(running: Running): Promise<{ serving: number; gone: number }> {
  const old = running.workers();
  const from = monotonicMs();
  const told = running.reload();
  await until(async () => !old.map(String).includes((await answerOf(running.port)) ?? String(old[0])), 'a new worker to answer', 1);
  const serving = monotonicMs() - from;
  await until(() => !old.some(isAlive), 'the old workers to end', 1);
  const gone = monotonicMs() - from;
  await told;
  return { serving, gone };
}
