/** Runs the test files that a library ships, each by plain `node` and as a program under a master, and compares what they report. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Library } from './libraries.ts';
import { start, type Way } from './runs.ts';

/** What a run of a test file came to. */
export interface Outcome {
  /** Exit code, or the name of the signal. */
  readonly end: number | string;
  /** What passed and what failed, sorted: tests that nobody awaits end in any order. */
  readonly results: readonly string[];
  readonly stderr: string;
}

/** A test file, run both ways. */
export interface Comparison {
  readonly file: string;
  readonly plain: Outcome;
  readonly supervised: Outcome;
  readonly isSame: boolean;
  /** How often it was run both ways. */
  readonly tries: number;
}

const LIMIT_MS = 30_000;
/** Some of them wait for a fixed time, which is too short where the machine is busy. */
const PLAIN_TRIES = 3;

/** The test files of a library. */
export function filesOf({ name, files }: Library, modules: string): string[] {
  const all = readdirSync(join(modules, name, 'test'), { recursive: true, encoding: 'utf8' });
  return all.map((file) => join('test', file)).filter((file) => files.test(file));
}

/** A file that differs is run twice more, and must be the same both times: what differs now and then by itself says nothing about us. */
export async function compare(library: Library, modules: string, file: string): Promise<Comparison> {
  const first = await compareOnce(library, modules, file);
  if (first.isSame || library.known?.[file] !== undefined) return { ...first, tries: 1 };
  const second = await compareOnce(library, modules, file);
  if (!second.isSame) return { ...second, tries: 2 };
  return { ...(await compareOnce(library, modules, file)), tries: 3 };
}

async function compareOnce(library: Library, modules: string, file: string): Promise<Omit<Comparison, 'tries'>> {
  const cwd = join(modules, library.name);
  let plain = await run('plain', cwd, file);
  for (let tries = 1; plain.end !== 0 && tries < PLAIN_TRIES; tries++) plain = await run('plain', cwd, file);
  const supervised = await run('supervised', cwd, file);
  return { file, plain, supervised, isSame: plain.end === supervised.end && plain.results.join('\n') === supervised.results.join('\n') };
}

/** How many tests passed and failed. */
export function count(outcomes: readonly Outcome[]): { readonly passed: number; readonly failed: number } {
  const results = outcomes.flatMap((outcome) => outcome.results);
  const failed = results.filter((result) => result.startsWith('not ok')).length;
  return { passed: results.length - failed, failed };
}

async function run(way: Way, cwd: string, file: string): Promise<Outcome> {
  const env = { NODE_OPTIONS: '--test-reporter=tap' };
  const { end, stdout, stderr } = await start(way, { file, cwd, env, limitMs: LIMIT_MS }).ended;
  return { end, results: readTap(stdout).sort(), stderr };
}

/** Results without numbers and durations. */
function readTap(text: string): string[] {
  return text.split('\n').flatMap((line) => {
    const found = /^ *(not ok|ok) \d+ ?(?:- )?(.*)$/.exec(line);
    return found ? [`${found[1]} ${found[2]}`] : [];
  });
}
