/**
 * Flags, environment and file → one validated, frozen Config. What each option is stands in
 * options.ts. Precedence: flags > GRACEFUL_SUPER_* > --config file > defaults.
 */
import { basename, dirname, extname, resolve } from 'node:path';
import * as v from 'valibot';
import { GracefulError } from '../errors.ts';
import type { HealthRequest } from '../protocol/worker.ts';
import { fromEcosystem } from './ecosystem.ts';
import { readConfigFile } from './file.ts';
import type { ListenSpec } from './listen-spec.ts';
import { type Option, options } from './options.ts';

export type { ListenSpec } from './listen-spec.ts';

interface Values {
  readonly name?: string;
  readonly workers: number;
  readonly listen: readonly ListenSpec[];
  /** Length of the accept queues; undefined: what the programs ask for. */
  readonly backlog?: number;
  readonly waitReady: boolean;
  readonly readyTimeout: number;
  /** Pages of the program that must answer before it is ready. */
  readonly preflight: readonly HealthRequest[];
  /** Ranges of the statuses that they may answer with. */
  readonly preflightStatus: readonly (readonly [from: number, to: number])[];
  readonly preflightTimeout: number;
  readonly surge: number | 'all';
  readonly probation: number;
  /** New code may listen elsewhere than the old. */
  readonly allowAddressChange: boolean;
  /** Established connections move to the successors. */
  readonly handoff: boolean;
  /** Those behind TLS, too. */
  readonly handoffTls: boolean;
  readonly idleGrace: number;
  readonly drainTimeout: number;
  readonly killTimeout: number;
  readonly linger: number;
  readonly maxDraining: number;
  readonly backoffMin: number;
  readonly backoffMax: number;
  readonly restartLimit: number;
  readonly restartWindow: number;
  /** undefined: a crash loop may last for ever. */
  readonly giveUpAfter?: number;
  readonly restart: 'always' | 'on-failure' | 'never';
  /** New workers are started beside the old ones. */
  readonly overlap: boolean;
  /** 0: workers need not answer. */
  readonly heartbeatTimeout: number;
  readonly blockedStack: boolean;
  /** Bytes. */
  readonly maxMemory?: number;
  readonly maxAge?: number;
  readonly health: Values['preflight'];
  readonly healthInterval: number;
  readonly healthTimeout: number;
  readonly healthFailures: number;
  readonly cwd?: string;
  readonly environmentFile: readonly string[];
  /** Node binary as configured: a path or a name to look up in PATH; undefined: the one that runs the master. */
  readonly node?: string;
  readonly nodeArg: readonly string[];
  readonly pidFile?: string;
  readonly runtimeDir?: string;
  readonly logLevel: 'error' | 'warn' | 'info' | 'debug';
  readonly logFormat: 'auto' | 'text' | 'json';
  readonly logFile?: string;
}

/** Everything that was configured, checked and complete. Times are milliseconds; paths are absolute, their symlinks unresolved. */
export interface Config extends Omit<Values, 'name' | 'surge' | 'cwd'> {
  readonly name: string;
  readonly script: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly surge: number;
  /** Variables from the configuration file. */
  readonly env: Readonly<Record<string, string>>;
}

/** What config is made from. */
export interface ConfigSources {
  /** Values by option name, as the command line gave them; undefined where it didn't. */
  readonly flags: Readonly<Record<string, unknown>>;
  readonly script: string | undefined;
  readonly args: readonly string[] | undefined;
  readonly configFile: string | undefined;
  readonly env: Readonly<NodeJS.ProcessEnv>;
  /** The folder that relative paths of flags and environment start from. */
  readonly folder: string;
}

interface Written {
  readonly value: unknown;
  /** How the user wrote it: `--workers`, `GRACEFUL_SUPER_WORKERS`, `workers in /srv/app.json`. */
  readonly as: string;
  readonly folder: string;
}

const MOST_WORKERS = 1024;
const ENV_PREFIX = 'GRACEFUL_SUPER_';

/** Reads and checks everything. @throws GracefulError `config-invalid` that lists every mistake, `config-unreadable`, `usage` without a script */
export async function loadConfig(sources: ConfigSources): Promise<Config> {
  const file = sources.configFile ?? sources.env[`${ENV_PREFIX}CONFIG`];
  const filePath = file === undefined ? undefined : resolve(sources.folder, file);
  const fromFile = filePath === undefined ? {} : await readFile(filePath, sources);
  const mistakes: string[] = [];
  const written = gather(sources, fromFile, filePath, mistakes);
  const values = check(written, mistakes);
  const program = checkProgram(sources, fromFile, filePath, mistakes);
  if (values.backoffMin > values.backoffMax) mistakes.push('--backoff-min: expected at most --backoff-max, got more');
  if (mistakes.length > 0) throw invalid(mistakes);
  if (program.script === undefined) throw new GracefulError('usage', 'no script to start', { hint: 'graceful-super start ./server.js' });
  const { name, surge, cwd, ...rest } = values;
  return Object.freeze({
    ...rest,
    name: name ?? nameOf(program.script),
    script: program.script,
    args: program.args,
    env: program.env,
    cwd: cwd ?? sources.folder,
    surge: surge === 'all' ? MOST_WORKERS : surge, // whatever it is scaled to
  });
}

/** `drainTimeout` → `--drain-timeout` */
export function flagName(option: string): string {
  return `--${kebab(option)}`;
}

/**
 * Folders of the control sockets that are meant when none is named: a master takes the first that it can have, commands look into all. What is cleaned at
 * times, and where everybody may make files, comes last. @see XDG Base Directory Specification
 */
export function defaultRuntimeDirs(env: Readonly<NodeJS.ProcessEnv>, tmp: string): readonly [string, ...string[]] {
  const uid = process.getuid?.() ?? 0;
  const isLinux = process.platform === 'linux';
  const xdg = env['XDG_RUNTIME_DIR'];
  const own = [...(xdg ? [xdg] : []), ...(isLinux ? [`/run/user/${uid}`] : [])].map((folder) => resolve(folder, 'graceful-super'));
  const shared = [...(isLinux ? ['/dev/shm'] : []), tmp].map((folder) => resolve(folder, `graceful-super-${uid}`));
  const folders = new Set([...(uid === 0 && isLinux ? ['/run/graceful-super'] : own), ...shared]);
  return [...folders] as [string, ...string[]];
}

/** An ecosystem file of PM2 is one, too. */
async function readFile(path: string, { flags, env, folder }: ConfigSources): Promise<Record<string, unknown>> {
  const values = await readConfigFile(path, folder);
  return fromEcosystem(values, path, flags['name'] ?? env[envName('name')]) ?? values;
}

function gather(sources: ConfigSources, fromFile: Record<string, unknown>, filePath: string | undefined, mistakes: string[]): Map<string, Written> {
  const written = new Map<string, Written>();
  for (const [key, value] of Object.entries(fromFile)) {
    if (key === 'script' || key === 'args' || key === 'env') continue;
    if (!Object.hasOwn(options, key)) mistakes.push(`${key} in ${filePath}: no such option`);
    else written.set(key, { value, as: `${key} in ${filePath}`, folder: dirname(filePath as string) });
  }
  for (const [variable, value] of Object.entries(sources.env)) {
    if (!variable.startsWith(ENV_PREFIX) || variable === `${ENV_PREFIX}CONFIG`) continue;
    const key = Object.keys(options).find((option) => variable === envName(option));
    if (key === undefined) mistakes.push(`${variable}: no such option`);
    else
      written.set(key, { value: isList(key) ? value?.split(/\s+/).filter(Boolean) : value, as: `${flagName(key)} from ${variable}`, folder: sources.folder });
  }
  for (const [key, value] of Object.entries(sources.flags)) {
    if (value !== undefined) written.set(key, { value, as: flagName(key), folder: sources.folder });
  }
  return written;
}

function check(written: Map<string, Written>, mistakes: string[]): Values {
  const values: Record<string, unknown> = {};
  for (const [key, { form, preset, kind }] of Object.entries(options)) {
    const given = written.get(key);
    const value = given === undefined ? preset : given.value;
    if (value === undefined) continue;
    const result = v.safeParse(form, value);
    if (!result.success) mistakes.push(`${given?.as ?? flagName(key)}: expected ${result.issues[0].message}, got ${show(result.issues[0].input)}`);
    else values[key] = given === undefined ? result.output : absolute(result.output, kind, given.folder);
  }
  return values as unknown as Values;
}

function checkProgram({ script, args, folder }: ConfigSources, fromFile: Record<string, unknown>, filePath: string | undefined, mistakes: string[]) {
  const shape = v.object({
    script: v.optional(v.pipe(v.string('a path'), v.minLength(1, 'a path'))),
    args: v.optional(v.array(v.string('a list of texts'), 'a list of texts'), []),
    env: v.optional(v.pipe(v.custom<object>(isPlainObject, 'an object of texts'), v.record(v.string(), v.string('an object of texts'))), {}),
  });
  const result = v.safeParse(shape, fromFile);
  if (!result.success) {
    for (const issue of result.issues) mistakes.push(`${v.getDotPath(issue)} in ${filePath}: expected ${issue.message}, got ${show(issue.input)}`);
    return { script: undefined, args: [], env: {} };
  }
  const { output } = result;
  const fileScript = output.script === undefined ? undefined : resolve(dirname(filePath as string), output.script);
  return { script: script === undefined ? fileScript : resolve(folder, script), args: args ?? output.args, env: output.env };
}

function invalid(mistakes: readonly string[]): GracefulError {
  const [only] = mistakes;
  if (mistakes.length === 1) return new GracefulError('config-invalid', `configuration: ${only}`, { hint: 'graceful-super start --help lists every option' });
  const lines = mistakes.map((mistake) => `  ${mistake}`).join('\n');
  return new GracefulError('config-invalid', `configuration: ${mistakes.length} mistakes\n${lines}`, {
    hint: 'graceful-super start --help lists every option',
  });
}

function nameOf(script: string): string {
  const name = basename(script, extname(script))
    .replace(/[^\w.-]/g, '-')
    .replace(/^[.-]+/, '')
    .slice(0, 64);
  return name === '' ? 'app' : name;
}

function absolute(value: unknown, kind: Option['kind'], folder: string): unknown {
  const isPath = kind === 'path' || (kind === 'command' && (value as string).includes('/')); // other commands are looked up in PATH
  if (isPath) return resolve(folder, value as string);
  if (kind === 'path-list') return (value as string[]).map((path) => resolve(folder, path));
  return value;
}

function isPlainObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isList(key: string): boolean {
  const kind = options[key]?.kind;
  return kind === 'list' || kind === 'path-list';
}

function kebab(option: string): string {
  return option.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function envName(option: string): string {
  return ENV_PREFIX + kebab(option).replaceAll('-', '_').toUpperCase();
}

function show(value: unknown): string {
  return typeof value === 'string' ? `"${value}"` : (JSON.stringify(value) ?? String(value));
}
