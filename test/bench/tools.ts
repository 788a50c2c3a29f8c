/**
 * Competitors and load generators: found where they are, installed where they are not. npm packages go into a cache
 * outside the repository; Debian packages need root. What can't be had is left out, and it is said why.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';

/** Debian package of each command. */
const packages = {
  nginx: 'nginx-light',
  haproxy: 'haproxy',
  gunicorn: 'gunicorn',
  puma: 'puma',
  start_server: 'libserver-starter-perl',
  wrk: 'wrk',
} as const;

const npmVersions = { pm2: '7.0.4', autocannon: '8.0.0', ...(isRecent(22, 19) && { wattpm: '3.67.0', '@platformatic/node': '3.65.0' }) };

/** Watt starts on no older Node. */
function isRecent(major: number, minor: number): boolean {
  const [ours = 0, itsMinor = 0] = process.versions.node.split('.').map(Number);
  return ours > major || (ours === major && itsMinor >= minor);
}

const npmCommands = ['pm2', 'autocannon', 'wattpm'] as const;

export type Tool = keyof typeof packages | (typeof npmCommands)[number];

/** A command, and what it says of its version. */
interface Found {
  readonly path: string;
  readonly version: string;
  /** Where npm has put it, and what it needs. */
  readonly modules?: string;
}

export type Tools = Partial<Readonly<Record<Tool, Found>>>;

/** Everything that is there or could be installed. @param say is told what is left out, and why */
export function findTools(say: (text: string) => void): Tools {
  installDebian(say);
  const found = new Map<Tool, Found>();
  for (const tool of Object.keys(packages) as (keyof typeof packages)[]) {
    const path = which(tool);
    if (path !== undefined) found.set(tool, { path, version: debianVersion(path) });
  }
  const folder = installNpm(say);
  if (!isRecent(22, 19)) say('left out: wattpm; it needs Node 22.19 or later: run the benchmark on one');
  for (const tool of npmCommands) {
    const manifest = join(folder, 'node_modules', tool, 'package.json');
    if (!existsSync(manifest) || (tool === 'wattpm' && !isRecent(22, 19))) continue;
    const { version, bin } = JSON.parse(readFileSync(manifest, 'utf8')) as { version: string; bin: string | Record<string, string> };
    const modules = join(folder, 'node_modules');
    found.set(tool, { path: join(modules, tool, typeof bin === 'string' ? bin : (bin[tool] as string)), version, modules });
  }
  return Object.fromEntries(found);
}

function installDebian(say: (text: string) => void): void {
  const missing = (Object.keys(packages) as (keyof typeof packages)[]).filter((tool) => which(tool) === undefined);
  if (missing.length === 0) return;
  const names = missing.map((tool) => packages[tool]);
  if (process.getuid?.() !== 0 || which('apt-get') === undefined) {
    return say(`left out: ${missing.join(', ')}; to have them: apt-get install ${names.join(' ')} (only done by itself as root)`);
  }
  // RUNLEVEL 1: packages must not start their services
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
  spawnSync('apt-get', ['update', '-q'], { env, stdio: 'ignore' });
  const { status, stderr } = spawnSync('apt-get', ['install', '-qy', '--no-install-recommends', ...names], { env, stdio: ['ignore', 'ignore', 'pipe'] });
  if (status !== 0) say(`left out: ${missing.join(', ')}; apt-get failed: ${String(stderr).trim().split('\n').at(-1)}`);
}

function installNpm(say: (text: string) => void): string {
  const folder = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'graceful-super-bench');
  const wanted = Object.entries(npmVersions).filter(([name, version]) => installedVersion(folder, name) !== version);
  if (wanted.length === 0) return folder;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{ "private": true }\n');
  const specs = Object.entries(npmVersions).map(([name, version]) => `${name}@${version}`);
  const { status, stderr } = spawnSync('npm', ['install', '--no-audit', '--no-fund', '--no-optional', ...specs], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  if (status !== 0) say(`left out: ${wanted.map(([name]) => name).join(', ')}; npm failed: ${String(stderr).trim().split('\n').at(-1)}`);
  return folder;
}

function installedVersion(folder: string, name: string): string | undefined {
  try {
    return JSON.parse(readFileSync(join(folder, 'node_modules', name, 'package.json'), 'utf8')).version;
  } catch {
    return undefined; // ENOENT
  }
}

function which(command: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin'];
  return folders.map((folder) => join(folder, command)).find((path) => existsSync(path));
}

/** Of the package that the command is from, which need not be the one that would have been installed. */
function debianVersion(path: string): string {
  const query = (...args: string[]) => execFileSync('dpkg-query', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  try {
    const [owner = ''] = query('-S', path).split(':');
    return query('-W', '-f', '$' + '{Version}', owner);
  } catch {
    return 'of unknown version'; // not from a Debian package
  }
}
