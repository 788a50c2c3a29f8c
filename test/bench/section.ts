/** What every section of the benchmark gets, and is. */
import { type Competitor, start } from './competitors.ts';
import type { Protocol } from './connections.ts';
import type { Ground } from './ground.ts';
import type { Goal, Metric, Results } from './results.ts';
import type { Running, Setting } from './running.ts';
import type { Tools } from './tools.ts';

/** The circumstances of a run. */
export interface Bench {
  readonly ground: Ground;
  readonly tools: Tools;
  readonly competitors: readonly Competitor[];
  readonly rounds: number;
  /** How long load lasts; milliseconds. */
  readonly durationMs: number;
  /** Fewer sizes and shorter waits: to see that it works, not what comes of it. */
  readonly isQuick: boolean;
  /** Whether a protocol is wanted, where there are several. */
  speaks(protocol: Protocol): boolean;
  /** Told what is going on. */
  say(text: string): void;
  /** Told what went wrong; it stays in the report. */
  note(text: string): void;
}

export interface Section {
  readonly name: string;
  readonly title: string;
  /** What is done, in a sentence or two. */
  readonly about: string;
  readonly metrics: Readonly<Record<string, Metric>>;
  readonly goals: readonly Goal[];
  /** How the chart looks; bars unless said otherwise. */
  readonly chart?: 'bars' | 'curves';
  run(bench: Bench, results: Results): Promise<void>;
}

/** Runs a competitor for a while. Its failure is told and costs the others nothing. */
export async function withRunning(
  bench: Bench,
  competitor: Competitor,
  setting: Partial<Setting> & Pick<Setting, 'workers'>,
  measure: (running: Running) => Promise<void>,
): Promise<void> {
  const { ground, tools } = bench;
  try {
    const running = await start(competitor, { ground, tools, port: await ground.port(), ...setting });
    try {
      await measure(running);
    } finally {
      await running.stop();
    }
  } catch (error) {
    bench.note(`${competitor.name}: ${error instanceof Error ? error.message : error}`);
    ground.killAll();
  }
}

/** All that take part, each round beginning with another one. */
export async function takeTurns(
  bench: Bench,
  takesPart: (competitor: Competitor) => boolean,
  turn: (competitor: Competitor, round: number) => Promise<void>,
): Promise<void> {
  const all = bench.competitors.filter(takesPart);
  for (let round = 0; round < bench.rounds; round++) {
    const first = round % Math.max(1, all.length);
    for (const competitor of [...all.slice(first), ...all.slice(0, first)]) await turn(competitor, round);
  }
}
