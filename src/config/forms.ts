/** What a configured value must look like, and what becomes of it: one form a kind of value. */
import * as v from 'valibot';
import type { HealthRequest } from '../protocol/worker.ts';
import { type ListenSpec, parseListenSpec } from './listen-spec.ts';
import { countCores } from './parallelism.ts';

/** Turns anything into a T, or says in an issue what was expected. */
export type Form<T> = v.GenericSchema<unknown, T>;

const LONGEST_MS = 24 * 24 * 60 * 60 * 1000; // setTimeout takes 2^31 - 1 ms

/** A value that `parse` understands; `expected` completes "expected …, got …". */
export function form<T>(expected: string, parse: (value: unknown) => T | undefined): Form<T> {
  return v.pipe(
    v.unknown(),
    v.rawTransform<unknown, T>(({ dataset, addIssue, NEVER }) => {
      const value = parse(dataset.value);
      if (value !== undefined) return value;
      addIssue({ message: expected });
      return NEVER;
    }),
  );
}

/** One item or several. */
export function list<T>(item: Form<T>): Form<readonly T[]> {
  return v.pipe(
    v.unknown(),
    v.transform((value) => (Array.isArray(value) ? value : [value])),
    v.array(item),
  );
}

/** A text with something in it. */
export function text(): Form<string> {
  return form('a text that is not empty', (value) => (typeof value === 'string' && value !== '' ? value : undefined));
}

/** On or off; texts from the environment included. */
export function toggle(): Form<boolean> {
  const words = new Map([...['true', '1', 'yes'].map((word) => [word, true] as const), ...['false', '0', 'no'].map((word) => [word, false] as const)]);
  return form('true or false', (value) => {
    if (typeof value === 'boolean') return value;
    return typeof value === 'string' ? words.get(value.toLowerCase()) : undefined;
  });
}

/** One of some words. */
export function oneOf<const T extends string>(words: readonly T[]): Form<T> {
  return form(words.join(', ').replace(/, (\w+)$/, ' or $1'), (value) => words.find((word) => word === value));
}

/** A whole number within bounds. */
export function whole(min: number, max: number): Form<number> {
  return form(`a whole number from ${min} to ${max}`, (value) => toWhole(value, min, max));
}

/** A length of time; milliseconds. */
export function duration(minMs: number): Form<number> {
  return form(`a time such as 500ms, 30s, 5m or 1h30m, ${minMs > 0 ? 'above 0 and ' : ''}at most 24d`, (value) => {
    const ms = toMilliseconds(value);
    return ms !== undefined && ms >= minMs && ms <= LONGEST_MS ? ms : undefined;
  });
}

function toMilliseconds(value: unknown): number | undefined {
  if (value === 0 || value === '0') return 0;
  if (typeof value !== 'string' || !/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(value)) return undefined;
  const units: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
  const parts = [...value.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)];
  return Math.round(parts.reduce((sum, [, amount, unit]) => sum + Number(amount) * (units[unit as string] as number), 0));
}

function toWhole(value: unknown, min: number, max: number): number | undefined {
  if (typeof value === 'string' && !/^\d+$/.test(value)) return undefined;
  const number = typeof value === 'number' || typeof value === 'string' ? Number(value) : Number.NaN;
  return Number.isInteger(number) && number >= min && number <= max ? number : undefined;
}

/** An amount of memory; bytes. */
export function size(): Form<number> {
  return form('an amount such as 500M, 1.5G or 800000K, at least 1M', (value) => {
    const [, amount, unit] = (typeof value === 'string' && /^(\d+(?:\.\d+)?)([KMG])(?:i?B)?$/i.exec(value)) || [];
    if (amount === undefined || unit === undefined) return undefined;
    const bytes = Math.round(Number(amount) * 1024 ** (1 + 'KMG'.indexOf(unit.toUpperCase())));
    return bytes >= 1024 ** 2 ? bytes : undefined;
  });
}

/** The name of a master. */
export function toName(value: unknown): string | undefined {
  return typeof value === 'string' && /^\w[\w.-]{0,63}$/.test(value) ? value : undefined;
}

/** How many workers; `auto` is one a core. */
export function toWorkers(value: unknown): number | undefined {
  return value === 'auto' ? countCores() : toWhole(value, 1, 1024);
}

/** How many workers may start at once. */
export function toSurge(value: unknown): number | 'all' | undefined {
  return value === 'all' ? 'all' : toWhole(value, 1, 1024);
}

/** An address to hold. */
export function toListenSpec(value: unknown): ListenSpec | undefined {
  return typeof value === 'string' || typeof value === 'number' ? parseListenSpec(String(value)) : undefined;
}

/** A page of the program: `/healthz`, or of the server on a port: `:8080/healthz`. */
export function toHealthRequest(value: unknown): HealthRequest | undefined {
  const [, digits, path] = (typeof value === 'string' && /^(?::(\d{1,5}))?(\/[\x21-\x7e]{0,2000})$/.exec(value)) || [];
  const port = digits === undefined ? null : toWhole(digits, 1, 65535);
  return path === undefined || port === undefined ? undefined : { port, path };
}

/** HTTP statuses: `204`, `200-299`. */
export function toStatusRange(value: unknown): readonly [from: number, to: number] | undefined {
  const [, first, last = first] = /^(\d{3})(?:-(\d{3}))?$/.exec(String(value)) ?? [];
  const from = toWhole(first, 200, 599);
  const to = toWhole(last, 200, 599);
  return from === undefined || to === undefined || from > to ? undefined : [from, to];
}
