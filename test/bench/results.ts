/** What was measured, summed up: medians and spread over the rounds, ratios to bare Node, and goals. */
import { BARE, OURS } from './competitors.ts';
import { quantile } from './measure.ts';

/** A kind of number. */
export interface Metric {
  readonly unit: string;
  readonly digits: number;
  /** Whether a ratio to bare Node means anything. */
  readonly isCompared?: boolean;
  /** Drawn in the chart. */
  readonly isDrawn?: boolean;
}

/** What a section wants to reach: a number computed from the rows of ours and others. */
export interface Goal {
  readonly text: string;
  readonly most?: number;
  readonly least?: number;
  readonly value: (of: Lookup) => number;
}

/** The median of a number, or its ratio to bare Node; NaN where it was not measured. */
export interface Lookup {
  median(scene: string, metric: string, competitor?: string): number;
  ratio(scene: string, metric: string, competitor?: string): number;
}

/** One number of one competitor, over all rounds. */
export interface Row {
  /** The circumstances: `keep-alive, 2 workers`. */
  readonly scene: string;
  readonly competitor: string;
  readonly metric: string;
  readonly unit: string;
  readonly rounds: readonly number[];
  readonly median: number;
  readonly least: number;
  readonly greatest: number;
  /** Median over the rounds of the ratio to bare Node in the same round; null: there is none. */
  readonly ratio: number | null;
}

export interface GoalResult {
  readonly text: string;
  readonly bound: string;
  readonly value: number | null;
  readonly isMet: boolean | null;
}

/** Takes the numbers of one section. */
export class Results {
  readonly #metrics: Readonly<Record<string, Metric>>;
  readonly #values = new Map<string, { scene: string; competitor: string; metric: string; rounds: number[] }>();

  constructor(metrics: Readonly<Record<string, Metric>>) {
    this.#metrics = metrics;
  }

  /** Adds the number of one more round. */
  add(scene: string, competitor: string, numbers: Readonly<Record<string, number>>): void {
    for (const [metric, value] of Object.entries(numbers)) {
      const key = keyOf(scene, metric, competitor);
      const entry = this.#values.get(key) ?? { scene, competitor, metric, rounds: [] };
      entry.rounds.push(value);
      this.#values.set(key, entry);
    }
  }

  rows(): Row[] {
    return [...this.#values.values()].map(({ scene, competitor, metric, rounds }) => {
      const bare = this.#values.get(keyOf(scene, metric, BARE)) ?? this.#bareWithOneWorker(scene, metric);
      const ratios = this.#metrics[metric]?.isCompared && bare ? rounds.map((value, round) => value / (bare.rounds[round] ?? Number.NaN)) : [];
      const ratio = quantile(ratios.filter(Number.isFinite), 0.5);
      return {
        scene,
        competitor,
        metric,
        unit: this.#metrics[metric]?.unit ?? '',
        rounds: rounds.map(rounded),
        median: rounded(quantile(rounds, 0.5)),
        least: rounded(quantile(rounds, 0)),
        greatest: rounded(quantile(rounds, 1)),
        ratio: Number.isFinite(ratio) ? rounded(ratio) : null,
      };
    });
  }

  goals(goals: readonly Goal[]): GoalResult[] {
    const rows = this.rows();
    const find = (scene: string, metric: string, competitor = OURS) =>
      rows.find((row) => row.scene === scene && row.metric === metric && row.competitor === competitor);
    const lookup: Lookup = {
      median: (...which) => find(...which)?.median ?? Number.NaN,
      ratio: (...which) => find(...which)?.ratio ?? Number.NaN,
    };
    return goals.map(({ text, most, least, value }) => {
      const number = rounded(value(lookup));
      const bound = most === undefined ? `≥ ${least}` : `≤ ${most}`;
      const isMet = Number.isNaN(number) ? null : number <= (most ?? Number.POSITIVE_INFINITY) && number >= (least ?? Number.NEGATIVE_INFINITY);
      return { text, bound, value: Number.isNaN(number) ? null : number, isMet };
    });
  }

  /** Bare Node has one process; what several workers do is compared with that. */
  #bareWithOneWorker(scene: string, metric: string) {
    return this.#values.get(keyOf(scene.replace(/\d+ workers$/, '1 worker'), metric, BARE));
  }
}

function keyOf(scene: string, metric: string, competitor: string): string {
  return JSON.stringify([scene, metric, competitor]);
}

function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}
