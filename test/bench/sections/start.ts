/** From the command to the first answer, and where the time goes. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BARE, competitors, OURS } from '../competitors.ts';
import { answerOf, until } from '../ground.ts';
import { monotonicMs } from '../measure.ts';
import type { Results } from '../results.ts';
import { type Bench, type Section, takeTurns } from '../section.ts';
import { timeStart } from './reload.ts';

interface Mark {
  readonly pid: number;
  readonly what: 'booted' | 'spawns' | 'spawned' | 'listens' | 'listening';
  readonly at: number;
}

const SCENE = '1 worker';
const BREAKDOWN = 'where it goes';

export const startUp: Section = {
  name: 'start',
  title: 'Start',
  about:
    'From the command to the first answer; one worker. For PM2 its daemon starts, too. The parts: until Node runs the first line of the command (boot), until the worker is spawned (master), until Node runs the first line in the worker, until the program listens (program; the runtime included), until the first answer comes.',
  metrics: {
    answers: { unit: 'ms', digits: 0, isCompared: true, isDrawn: true },
    boot: { unit: 'ms', digits: 1 },
    master: { unit: 'ms', digits: 1 },
    spawn: { unit: 'ms', digits: 1 },
    'boot of the worker': { unit: 'ms', digits: 1 },
    program: { unit: 'ms', digits: 1 },
    answer: { unit: 'ms', digits: 1 },
  },
  goals: [{ text: 'until the first answer, of bare Node', most: 2.2, value: ({ ratio }) => ratio(SCENE, 'answers') }],
  async run(bench, results) {
    await takeTurns(
      bench,
      () => true,
      async (competitor) => {
        bench.say(`start: ${competitor.name}`);
        try {
          results.add(SCENE, competitor.name, { answers: await timeStart(bench, competitor) });
        } catch (error) {
          bench.note(`${competitor.name}: ${error instanceof Error ? error.message : error}`);
          bench.ground.killAll();
        }
        if (competitor.name === OURS || competitor.name === BARE) await breakDown(bench, results, competitor.name);
      },
    );
  },
};

/** The parts of a start, from marks that the processes set. */
async function breakDown({ ground, tools }: Bench, results: Results, name: string): Promise<void> {
  const marks = join(ground.folder(), 'marks');
  const port = await ground.port();
  const from = monotonicMs();
  const running = await competitors.find((one) => one.name === name)?.launch({ ground, tools, port, workers: 1, marks });
  await until(async () => (await answerOf(port)) !== undefined, `${name} to answer`, 1);
  const end = monotonicMs();
  await running?.stop();
  const all = readFileSync(marks, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Mark);
  const of = (what: Mark['what'], isFirst: boolean) => all.find((mark) => mark.what === what && (mark.pid === all[0]?.pid) === isFirst)?.at ?? Number.NaN;
  if (name === BARE) {
    const [booted, listening] = [of('booted', true), of('listening', true)];
    return results.add(BREAKDOWN, name, { boot: booted - from, program: listening - booted, answer: end - listening });
  }
  const [booted, spawns, spawned, workerBooted, listening] = [
    of('booted', true),
    of('spawns', true),
    of('spawned', true),
    of('booted', false),
    of('listening', false),
  ];
  results.add(BREAKDOWN, name, {
    boot: booted - from,
    master: spawns - booted,
    spawn: spawned - spawns,
    'boot of the worker': workerBooted - spawned,
    program: listening - workerBooted,
    answer: end - listening,
  });
}
