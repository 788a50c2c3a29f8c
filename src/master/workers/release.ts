/**
 * What a generation is started from: script, working directory, environment and Node binary, resolved anew for each one.
 * A generation keeps what it was resolved to: a worker that takes a crashed one's place runs the code that has proved itself.
 */
import { readFileSync, realpathSync, type Stats, statSync } from 'node:fs';
import { delimiter, isAbsolute, join, resolve } from 'node:path';
import { parseEnv } from 'node:util';
import type { Config } from '../../config/config.ts';
import { GracefulError, systemCode } from '../../errors.ts';
import { resolveScript } from './script.ts';
import { withoutWrapper } from './wrapper.ts';

const OLDEST_NODE = [20, 19] as const;

/** Everything that a start needs; paths without symlinks. */
export interface Launch {
  readonly script: string;
  readonly args: readonly string[];
  readonly node: string;
  readonly nodeArgs: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** It has a thread that can say where it hangs. */
  readonly isWatched: boolean;
}

/** Where the master itself was started. */
export interface Origin {
  readonly env: Readonly<NodeJS.ProcessEnv>;
  /** How its Node binary was called, symlinks unresolved. */
  readonly node: string;
}

/** @throws GracefulError `script-…`, `cwd-invalid`, `env-file-unreadable`, `node-unusable` */
export async function resolveLaunch(config: Config, origin: Origin): Promise<Launch> {
  const script = resolveScript(config.script);
  const cwd = resolveFolder(config.cwd);
  const env = { ...cleaned(origin.env), ...readEnvFiles(config.environmentFile), ...config.env, PWD: cwd };
  const node = await resolveNode(config.node ?? origin.node, origin.env);
  return withoutWrapper({ script, args: config.args, node, nodeArgs: config.nodeArg, cwd, env, isWatched: config.blockedStack });
}

/** False when the files are gone, as when an old release was removed. */
export function isStillThere({ script, cwd, node }: Launch): boolean {
  return [script, cwd, node].every((path) => statSync(path, { throwIfNoEntry: false }) !== undefined);
}

/** How this process's Node was called, so that a symlink on the way may point elsewhere at the next reload. */
export function unresolvedNode(argv0: string, execPath: string, env: Readonly<NodeJS.ProcessEnv>, folder: string): string {
  const candidates = argv0.includes('/') ? [resolve(folder, argv0)] : inPath(argv0, env);
  return candidates.find((path) => realpathOf(path) === execPath) ?? execPath;
}

function resolveFolder(folder: string): string {
  const stats = statOrThrow(
    folder,
    (reason, cause) => new GracefulError('cwd-invalid', `cannot use working directory ${folder}: ${reason}`, { hint: 'pass --cwd', cause }),
  );
  if (!stats.isDirectory()) throw new GracefulError('cwd-invalid', `cannot use working directory ${folder}: it is no directory`, { hint: 'pass --cwd' });
  return realpathSync(folder);
}

function statOrThrow(path: string, toError: (reason: string, cause: unknown) => GracefulError): Stats {
  try {
    return statSync(path);
  } catch (cause) {
    const reasons: Record<string, string> = { ENOENT: 'no such file', ENOTDIR: 'no such file', EACCES: 'permission denied', ELOOP: 'too many symlinks' };
    throw toError(reasons[systemCode(cause) ?? ''] ?? String(cause), cause);
  }
}

function readEnvFiles(files: readonly string[]): Record<string, string | undefined> {
  return Object.assign({}, ...files.map(readEnvFile));
}

function readEnvFile(file: string): NodeJS.Dict<string> {
  try {
    return parseEnv(readFileSync(file, 'utf8'));
  } catch (cause) {
    const reasons: Record<string, string> = { ENOENT: 'no such file', EACCES: 'permission denied', EISDIR: 'it is a directory' };
    throw new GracefulError('env-file-unreadable', `cannot read environment file ${file}: ${reasons[systemCode(cause) ?? ''] ?? String(cause)}`, {
      hint: 'pass another --environment-file',
      cause,
    });
  }
}

/** The master's environment less what only concerns the master. */
function cleaned(env: Readonly<NodeJS.ProcessEnv>): Record<string, string | undefined> {
  const isOurs = (key: string) => /^(GRACEFUL_SUPER_|LISTEN_(FDS|PID|PIDFDID|FDNAMES)$|FDSTORE$|NOTIFY_SOCKET$|WATCHDOG_)/.test(key);
  return Object.fromEntries(Object.entries(env).filter(([key]) => !isOurs(key)));
}

async function resolveNode(node: string, env: Readonly<NodeJS.ProcessEnv>): Promise<string> {
  const candidates = isAbsolute(node) ? [node] : inPath(node, env);
  const path = candidates.map(realpathOf).find((candidate) => candidate !== undefined);
  if (path === undefined) throw new GracefulError('node-unusable', `cannot use Node binary ${node}: no such file`, { hint: 'pass --node with a path' });
  if (path !== process.execPath) await checkVersion(path);
  return path;
}

/** Known good binaries: path, size and time of change. */
const usable = new Set<string>();

async function checkVersion(path: string): Promise<void> {
  const { mtimeMs, size } = statSync(path);
  const key = `${path} ${mtimeMs} ${size}`;
  if (usable.has(key)) return;
  const { execa } = await import('execa');
  // a question to the binary alone: what NODE_OPTIONS load may print, wait for a debugger, or stand in another folder
  const terms = { env: { NODE_OPTIONS: undefined }, cwd: '/', reject: false, timeout: 10_000, stdin: 'ignore' } as const;
  const result = await execa(path, ['--print', 'process.versions.node'], terms);
  const [major = 0, minor = 0] = result.failed ? [] : result.stdout.split('.').map(Number);
  const [oldestMajor, oldestMinor] = OLDEST_NODE;
  const reasons: Record<string, string> = { EACCES: 'permission denied', ENOEXEC: 'it is no program' };
  if (!(major > oldestMajor || (major === oldestMajor && minor >= oldestMinor))) {
    const found = result.failed ? (reasons[result.code ?? ''] ?? `it does not run: ${result.stderr || result.shortMessage}`) : `it is Node ${result.stdout}`;
    throw new GracefulError('node-unusable', `cannot use Node binary ${path}: ${found}`, { hint: `Node ${OLDEST_NODE.join('.')} or later is needed` });
  }
  usable.clear();
  usable.add(key);
}

function inPath(command: string, env: Readonly<NodeJS.ProcessEnv>): string[] {
  return (env['PATH'] ?? '')
    .split(delimiter)
    .filter(Boolean)
    .map((folder) => join(folder, command));
}

function realpathOf(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined; // ENOENT: it isn't there
  }
}
