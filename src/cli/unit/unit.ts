/** `graceful-super unit`: prints the systemd units for a program, or installs them. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir, userInfo } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { type Config, flagName, loadConfig } from '../../config/config.ts';
import { options } from '../../config/options.ts';
import { GracefulError, systemCode } from '../../errors.ts';
import { resolveLaunch, unresolvedNode } from '../../master/workers/release.ts';
import { sourcesOf } from '../start.ts';
import { serviceFile } from './service-file.ts';
import { socketFiles } from './socket-files.ts';
import type { UnitFacts } from './unit-facts.ts';

/** What the units do without where nobody says which systemd they are for. */
const OLDEST_SYSTEMD = 252;

/** /run/graceful-super-NAME/NAME.lock/ID has to fit into the path of a socket. */
const LONGEST_NAME = 31;

type Argv = Readonly<Record<string, unknown>>;

/** @returns 0 when they are printed, or installed */
export async function unit(argv: Argv): Promise<number> {
  const env = Object.fromEntries(Object.entries(process.env).filter(([variable]) => !variable.startsWith('GRACEFUL_SUPER_'))); // the unit will not have them
  const sources = sourcesOf(argv, env);
  const config = await loadConfig(sources);
  const node = unresolvedNode(process.argv0, process.execPath, env, sources.folder);
  await resolveLaunch(config, { env, node });
  refuseUnwritable(config);
  const sockets = argv['socket'] === true ? socketFiles(config) : {};
  const facts: UnitFacts = {
    config,
    program: [node, ownPath()],
    args: argumentsOf(argv, sources.folder),
    files: sources.configFile === undefined ? [] : [resolve(sources.folder, sources.configFile)],
    owner: ownerOf(argv),
    systemdVersion: await systemdVersion(argv['systemdVersion'] as string | undefined),
    sockets: Object.keys(sockets),
  };
  const files = { [`${config.name}.service`]: serviceFile(facts), ...sockets };
  if (argv['install'] === true) install(files, facts, argv['force'] === true);
  else process.stdout.write(Object.values(files).join('\n'));
  return 0;
}

/** What a line of a unit can't hold, and what the control socket would have no room for. */
function refuseUnwritable({ name, cwd, runtimeDir, listen }: Config): void {
  const paths = [cwd, ...(runtimeDir === undefined ? [] : [runtimeDir]), ...listen.flatMap((spec) => (spec.kind === 'unix' ? [spec.path] : []))];
  const odd = paths.find((path) => /\p{Cc}|[\s\\]$/u.test(path));
  if (odd !== undefined)
    throw new GracefulError('usage', `a unit can't name ${JSON.stringify(odd)}`, {
      hint: 'use a path without control characters, and without a blank or a backslash at its end',
    });
  if (runtimeDir !== undefined || name.length <= LONGEST_NAME) return;
  throw new GracefulError('usage', `"${name}" is too long a name for a unit, whose control socket lies in a folder of that name`, {
    hint: `at most ${LONGEST_NAME} characters: --name`,
  });
}

/** How graceful-super was called, symlinks unresolved: it must be there at the next boot, too. */
function ownPath(): string {
  const path = process.argv[1] as string;
  if (!path.includes('/_npx/')) return path;
  throw new GracefulError('usage', `${path} is a copy that npx keeps for a while`, { hint: 'npm install --global graceful-super, and call that' });
}

/** The flags as they were given, with paths that hold from everywhere. */
function argumentsOf(argv: Argv, folder: string): string[] {
  const flags = Object.entries(options).flatMap(([name, { kind }]) => {
    const value = argv[name];
    if (value === undefined || name === 'name' || name === 'runtimeDir') return [];
    if (kind === 'toggle') return [value === true ? flagName(name) : flagName(name).replace('--', '--no-')];
    const isPath = kind === 'path' || kind === 'path-list';
    return [value].flat().flatMap((item) => toFlag(flagName(name), isPath ? resolve(folder, String(item)) : String(item)));
  });
  const file = argv['config'] === undefined ? [] : ['--config', resolve(folder, String(argv['config']))];
  const script = argv['script'] === undefined ? [] : [resolve(folder, String(argv['script']))];
  const rest = (argv['--'] as string[] | undefined) ?? [];
  return [...script, ...file, ...flags, ...(rest.length > 0 ? ['--', ...rest] : [])];
}

function toFlag(flag: string, value: string): string[] {
  return value.startsWith('-') ? [`${flag}=${value}`] : [flag, value];
}

function ownerOf(argv: Argv): UnitFacts['owner'] {
  const user = argv['runAs'] as string | undefined;
  if (argv['userUnit'] === true) {
    if (user !== undefined) throw new GracefulError('usage', 'a user unit runs as its user', { hint: 'leave --run-as or --user-unit out' });
    return { kind: 'user', uid: process.getuid?.() ?? 0 };
  }
  if (user !== undefined && !/^[A-Za-z_0-9][\w.-]*$/.test(user)) throw new GracefulError('usage', `--run-as: "${user}" is no name of a user`);
  return { kind: 'system', user: user ?? process.env['SUDO_USER'] ?? userInfo().username };
}

async function systemdVersion(given: string | undefined): Promise<number> {
  if (given !== undefined && !/^\d{3}$/.test(given)) throw new GracefulError('usage', `--systemd-version: expected a number such as 257, got "${given}"`);
  if (given !== undefined) return Number(given);
  const { execa } = await import('execa');
  const { stdout = '' } = await execa('systemctl', ['--version'], { reject: false, timeout: 10_000, stdin: 'ignore' });
  return Number(/^systemd (\d+)/.exec(stdout)?.[1] ?? OLDEST_SYSTEMD);
}

/** Writes nothing where one of the files may not be replaced. */
function install(files: Readonly<Record<string, string>>, { owner, config, sockets }: UnitFacts, mayReplace: boolean): void {
  const isUser = owner.kind === 'user';
  const folder = isUser ? join(process.env['XDG_CONFIG_HOME'] || join(homedir(), '.config'), 'systemd/user') : '/etc/systemd/system';
  const paths = Object.entries(files).map(([name, text]) => [join(folder, name), text] as const);
  for (const [path, text] of paths) {
    const there = contentOf(path);
    if (mayReplace || there === undefined || there === text) continue;
    throw new GracefulError('unit-exists', `${path} is there, and says something else`, { hint: 'compare them (leave --install out), then pass --force' });
  }
  for (const [path, text] of paths) write(path, text);
  const systemctl = `systemctl${isUser ? ' --user' : ''}`;
  process.stdout.write(paths.map(([path]) => `written: ${path}\n`).join(''));
  process.stdout.write(`next: ${systemctl} daemon-reload && ${systemctl} enable --now ${sockets.join(' ') || `${config.name}.service`}\n`);
}

function contentOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw unwritable(path, error);
  }
}

function write(path: string, text: string): void {
  try {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  } catch (error) {
    throw unwritable(path, error);
  }
}

function unwritable(path: string, cause: unknown): GracefulError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new GracefulError('unit-unwritable', `cannot write ${path}: ${reason}`, { hint: 'for the machine: sudo; for you alone: --user-unit', cause });
}
