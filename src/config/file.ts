/**
 * Reads a configuration file. JSON is read here; JavaScript runs in a process of its own: the master never runs
 * foreign code, and what the file imports is read anew each time.
 */
import { promises } from 'node:fs';
import { extname } from 'node:path';
import { pathToFileURL } from 'node:url';
import { GracefulError, systemCode } from '../errors.ts';

// descriptor 3: what the file itself prints is its own affair
const EVALUATE = `
import { writeFileSync } from 'node:fs';
const { default: exported } = await import(process.argv[1]);
const value = await (typeof exported === 'function' ? exported() : exported);
writeFileSync(3, JSON.stringify(value ?? null));
`;
const EVALUATE_TIMEOUT_MS = 10_000;
const HINT = 'a configuration file is JSON, or exports an object by default: { "workers": 4 }';

/** The object that the file holds (JSON) or exports by default (JS, MJS, CJS; a function is called). @throws GracefulError `config-unreadable` */
export async function readConfigFile(path: string): Promise<Record<string, unknown>> {
  const value = extname(path) === '.json' ? await readJson(path) : await evaluate(path);
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new GracefulError('config-unreadable', `cannot use configuration file ${path}: expected an object, got ${JSON.stringify(value)}`, { hint: HINT });
}

async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(await promises.readFile(path, 'utf8'));
  } catch (error) {
    throw unreadable(path, error instanceof SyntaxError ? `it is not JSON: ${error.message}` : reasonOf(error), error);
  }
}

async function evaluate(path: string): Promise<unknown> {
  if (!['.js', '.mjs', '.cjs'].includes(extname(path))) throw unreadable(path, 'expected a .json, .js, .mjs or .cjs file', undefined);
  try {
    await promises.readFile(path);
  } catch (error) {
    throw unreadable(path, reasonOf(error), error);
  }
  const { execa } = await import('execa');
  const args = ['--input-type=module', '--eval', EVALUATE, pathToFileURL(path).href];
  const result = await execa(process.execPath, args, { timeout: EVALUATE_TIMEOUT_MS, reject: false, stdio: ['ignore', 'pipe', 'pipe', 'pipe'] });
  if (result.timedOut) throw unreadable(path, `it did not end within ${EVALUATE_TIMEOUT_MS / 1000} s`, undefined);
  if (result.failed) throw unreadable(path, whyItThrew(result.stderr), result);
  const given = result.stdio[3];
  if (typeof given !== 'string' || given === '') throw unreadable(path, 'it ended before it gave its configuration', undefined);
  return JSON.parse(given);
}

/** Node's account of an uncaught error: where, in the first line; what, in the first line that names an error. */
function whyItThrew(stderr: string): string {
  const place = /^(\S+:\d+)$/m.exec(stderr)?.[1];
  const error = /^(?:Uncaught )?(?:\w*Error\b.*|Error \[.*|Uncaught .*)$/m.exec(stderr)?.[0] ?? stderr.trim().split('\n').at(-1);
  return `${error}${place === undefined ? '' : ` (${place})`}`;
}

function reasonOf(error: unknown): string {
  const reasons: Record<string, string> = { ENOENT: 'no such file', EACCES: 'permission denied', EISDIR: 'it is a directory' };
  return reasons[systemCode(error) ?? ''] ?? String(error);
}

function unreadable(path: string, reason: string, cause: unknown): GracefulError {
  return new GracefulError('config-unreadable', `cannot read configuration file ${path}: ${reason}`, { hint: HINT, cause });
}
