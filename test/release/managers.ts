/** The package managers that a release is tried with. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { cacheFolder, installInto } from '../helpers/cache.ts';

/** How one of them is used. */
export interface Manager {
  readonly name: string;
  /** The command that it is. */
  readonly command: readonly string[];
  /** What adds a tarball to the project in the current folder. */
  add(tarball: string): readonly string[];
  /** What comes before a command of an installed package. */
  readonly run: readonly string[];
  /** Writes what it wants to find in a project. */
  prepare?(folder: string): void;
  /** False where packages lie in no folder, so that the compiler of somebody else can't look into them. */
  readonly hasModules: boolean;
}

const PNPM = 'pnpm@10.34.8';
const CLASSIC = 'yarn@1.22.22';
const BERRY = '@yarnpkg/cli-dist@4.18.1';

/** npm as it came with this Node, the others from npm, into a cache. */
export function findManagers(): readonly Manager[] {
  const modules = install([PNPM, CLASSIC, BERRY]);
  const node = (file: string) => [process.execPath, join(modules, file)];
  const berry = node('@yarnpkg/cli-dist/bin/yarn.js');
  const yarn = (linker: string, hasModules: boolean): Manager => ({
    name: `${BERRY}, ${linker}`,
    command: berry,
    add: (tarball) => ['add', `graceful-super@file:${tarball}`],
    run: ['run'],
    prepare(folder) {
      writeFileSync(join(folder, 'yarn.lock'), ''); // else it looks for a project above
      writeFileSync(join(folder, '.yarnrc.yml'), `nodeLinker: ${linker}\nenableTelemetry: false\nenableGlobalCache: false\n`);
    },
    hasModules,
  });
  return [
    { name: 'npm', command: npm(), add: (tarball) => ['install', tarball], run: ['exec', '--offline', '--'], hasModules: true },
    { name: PNPM, command: node('pnpm/bin/pnpm.cjs'), add: (tarball) => ['add', tarball], run: ['exec'], hasModules: true },
    {
      name: CLASSIC,
      command: node('yarn/bin/yarn.js'),
      add: (tarball) => ['add', '--no-progress', `file:${tarball}`],
      run: ['--silent', 'run'],
      hasModules: true,
    },
    yarn('node-modules', true),
    yarn('pnp', false),
  ];
}

function npm(): readonly string[] {
  const beside = join(dirname(process.execPath), 'npm');
  return [existsSync(beside) ? beside : 'npm'];
}

function install(packages: readonly string[]): string {
  const folder = cacheFolder('package-managers');
  const record = join(folder, 'package.json');
  const isThere = existsSync(record) && packages.every((each) => readFileSync(record, 'utf8').includes(`"${each.replace(/@(?=[^@]+$)/, '": "')}"`));
  if (!isThere) installInto(folder, packages, ['--ignore-scripts', '--loglevel=error']);
  return join(folder, 'node_modules');
}
