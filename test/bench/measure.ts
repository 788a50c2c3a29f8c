/** What benchmarks measure, and how it is summed up. */
import { cpus } from 'node:os';

/** A request of a connection that asks again and again, or on one that was idle. */
export interface Sample {
  readonly kind: 'busy' | 'idle';
  /** Sent and answered, by `monotonicMs`. */
  readonly times: readonly [number, number];
}

/** What the client process is asked to do. */
export type Request =
  | { readonly type: 'open'; readonly port: number; readonly idle: number; readonly busy: number; readonly thinkMs: number }
  | { readonly type: 'take' | 'stop' };

/** From one moment to another, by `monotonicMs`. */
export type Span = readonly [number, number];

/** CLOCK_MONOTONIC in milliseconds, which is the same in every process. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** Milliseconds that all cores together have been busy, and have had; all processes of the machine. */
export function coreTimes(): { readonly busy: number; readonly all: number } {
  const times = cpus().map((core) => core.times);
  const all = times.reduce((sum, { user, nice, sys, idle, irq }) => sum + user + nice + sys + idle + irq, 0);
  return { busy: all - times.reduce((sum, { idle }) => sum + idle, 0), all };
}

/** The smallest number that a share of all (0 to 1) does not exceed. NaN: there is none. */
export function quantile(numbers: readonly number[], share: number): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

/** Latencies of the requests that were waiting at some moment of the span. */
export function latencies(samples: readonly Sample[], kind: Sample['kind'], [from, to]: Span): number[] {
  return samples.filter((sample) => sample.kind === kind && sample.times[0] < to && sample.times[1] > from).map(({ times }) => times[1] - times[0]);
}

/** The median over the rounds, and in brackets the least and the greatest. */
export function spread(rounds: readonly number[], digits = 1): string {
  const shown = [quantile(rounds, 0.5), quantile(rounds, 0), quantile(rounds, 1)].map((number) => (Number.isNaN(number) ? '–' : number.toFixed(digits)));
  return `${shown[0]} (${shown[1]}–${shown[2]})`;
}

/** Columns as wide as what stands in them. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  return rows.map((row) => row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0))).join('  ')).join('\n');
}
