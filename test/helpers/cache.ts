/** What tests install from npm, kept outside the repository. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

// some tests start what is in it as another user, who can't look into root's home
const base = process.getuid?.() === 0 ? '/var/cache' : (process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'));
const cache = join(base, 'graceful-super-test');

/** A folder of the cache, made if it is not there. */
export function cacheFolder(name: string): string {
  const folder = join(cache, name);
  mkdirSync(folder, { recursive: true });
  return folder;
}

/** Installs packages (`name@version`) into a folder of the cache. @throws if npm fails */
export function installInto(folder: string, packages: readonly string[], flags: readonly string[] = []): void {
  writeFileSync(join(folder, 'package.json'), '{ "private": true }\n');
  const { status } = spawnSync('npm', ['install', '--no-audit', '--no-fund', '--save-exact', ...flags, ...packages], { cwd: folder, stdio: 'inherit' });
  if (status !== 0) throw new Error(`cannot install ${packages.join(' ')} from npm into ${folder}`);
}
