/**
 * Reads a configuration file. JSON is read here; JavaScript runs in a process of its own: the master never runs
 * foreign code, and what the file imports is read anew each time.
 */
import { existsSync, promises } from 'node:fs';
import { extname } from 'node:path';
import { pathToFileURL } from 'node:url';
import { GracefulError, systemCode } from '../errors.ts';

/** The first thing that is written, when whatever NODE_OPTIONS load has run. */
const BEGUN = '>';
// descriptor 3: what the file itself prints is its own affair
const EVALUATE = `
import { writeFileSync } from 'node:fs';
writeFileSync(3, '${BEGUN}');
const { default: exported } = await import(process.argv[1]);
const value = await (typeof exported === 'function' ? exported() : exported);
writeFileSync(3, JSON.stringify(value ?? null));
`;
const EVALUATE_TIMEOUT_MS = 10_000;
const HINT = 'a configuration file is JSON, or exports an object by default: { "workers": 4 }';

/**
 * The object that the file holds (JSON) or exports by default (JS, MJS, CJS; a function is called). `folder` is where the user has started us: JavaScript
 * runs there at each reload as at the start, so that relative paths, those in NODE_OPTIONS included, lead to the same files. @throws GracefulError `config-unreadable`
 */
export async function readConfigFile(path: string, folder: string): Promise<Record<string, unknown>> {
  const value = extname(path) === '.json' ? await readJson(path) : await evaluate(path, folder);
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

async function evaluate(path: string, folder: string): Promise<unknown> {
  if (!['.js', '.mjs', '.cjs'].includes(extname(path))) throw unreadable(path, 'expected a .json, .js, .mjs or .cjs file', undefined);
  try {
    await promises.readFile(path);
  } catch (error) {
    throw unreadable(path, reasonOf(error), error);
  }
  const { execa } = await import('execa');
  const args = ['--input-type=module', '--eval', EVALUATE, pathToFileURL(path).href];
  const cwd = existsSync(folder) ? folder : '/';
  const env = { NODE_OPTIONS: withoutInspector(process.env['NODE_OPTIONS']) };
  const result = await execa(ownBinary(), args, { env, cwd, timeout: EVALUATE_TIMEOUT_MS, reject: false, stdio: ['ignore', 'pipe', 'pipe', 'pipe'] });
  const given = String(result.stdio[3] ?? '');
  if (result.timedOut) throw unreadable(path, `it did not end within ${EVALUATE_TIMEOUT_MS / 1000} s`, undefined);
  if (result.failed && !given.startsWith(BEGUN)) throw neverRun(path, cwd, result.stderr === '' ? result.originalMessage : whyItThrew(result.stderr));
  if (result.failed) throw unreadable(path, whyItThrew(result.stderr), result);
  if (given.length <= BEGUN.length) throw unreadable(path, 'it ended before it gave its configuration', undefined);
  return JSON.parse(given.slice(BEGUN.length));
}

/** Its port is the program's, and nobody would let a configuration go on. */
function withoutInspector(options: string | undefined): string | undefined {
  return options?.replace(/--inspect(-brk|-wait|-port)?(=\S+)?(?=\s|$)/g, '');
}

/** Also when it was removed since this process began, as by an upgrade of Node (Linux only). */
function ownBinary(): string {
  return existsSync(process.execPath) || !existsSync('/proc/self/exe') ? process.execPath : '/proc/self/exe';
}

/** The file is not to blame. */
function neverRun(path: string, folder: string, reason: string | undefined): GracefulError {
  const options = process.env['NODE_OPTIONS'];
  const [what, hint] = options
    ? [`with NODE_OPTIONS="${options}" in ${folder}`, 'NODE_OPTIONS name files from the folder of the start']
    : [`in ${folder}`, undefined];
  return new GracefulError('config-unreadable', `cannot read configuration file ${path}: Node does not start ${what}: ${reason}`, { hint });
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
