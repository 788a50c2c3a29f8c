/** Example programs whose packages were installed by other tools than npm, or linked, each alone and as part of a workspace: what is a link there, the module loader must follow. */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder, installInto } from '../helpers/cache.ts';
import { root } from '../helpers/rig.ts';

/** Of the major versions that most programs still have. */
const dependencies = { express: '4.22.1', fastify: '4.29.1', koa: '2.16.3' };
/** The programs that are tried in each layout. */
export const installed: readonly string[] = ['express.cjs', 'fastify.mjs', 'koa.cjs'];

const tools = ['pnpm@9.15.9', 'yarn@1.22.22'];

/** A way to install, and where its programs are. */
export interface Layout {
  readonly name: string;
  readonly folder: string;
}

/** Installs into the cache whatever is not there. @throws if a tool fails */
export function layOut(): Layout[] {
  const at = cacheFolder('tools');
  if (tools.some((tool) => !existsSync(join(at, 'node_modules', tool.slice(0, tool.lastIndexOf('@')))))) installInto(at, tools, ['--ignore-scripts']);
  const pnpm = [process.execPath, join(at, 'node_modules/pnpm/bin/pnpm.cjs')];
  const yarn = [process.execPath, join(at, 'node_modules/yarn/bin/yarn.js')];
  return [
    { name: 'pnpm', folder: install(pnpm, 'layout-pnpm', false) },
    { name: 'pnpm, workspace', folder: install(pnpm, 'layout-pnpm-workspace', true) },
    { name: 'yarn', folder: install(yarn, 'layout-yarn', false) },
    { name: 'yarn, workspace', folder: install(yarn, 'layout-yarn-workspace', true) },
    { name: 'npm, workspace', folder: install(['npm'], 'layout-npm-workspace', true) },
    { name: 'npm link', folder: link('layout-npm-link') },
  ];
}

/** @returns the folder of its programs */
function install(tool: readonly string[], name: string, isWorkspace: boolean): string {
  const folder = cacheFolder(name);
  const app = isWorkspace ? join(folder, 'packages/app') : folder;
  if (!existsSync(join(folder, 'node_modules'))) {
    mkdirSync(app, { recursive: true });
    writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'all', version: '1.0.0', private: true, workspaces: ['packages/*'] }));
    if (isWorkspace) writeFileSync(join(folder, 'pnpm-workspace.yaml'), 'packages:\n  - packages/*\n');
    writeFileSync(join(app, 'package.json'), JSON.stringify({ name: 'app', version: '1.0.0', private: true, dependencies }));
    run([...tool, 'install', '--ignore-scripts'], folder);
  }
  return withPrograms(app);
}

/** As a developer links packages that lie elsewhere: a link to a link. */
function link(name: string): string {
  const folder = cacheFolder(name);
  const app = join(folder, 'app');
  if (!existsSync(join(app, 'node_modules'))) {
    for (const each of [app, join(folder, 'elsewhere'), join(folder, 'global/lib')]) mkdirSync(each, { recursive: true });
    const packages = Object.entries(dependencies).map(([each, version]) => `${each}@${version}`);
    installInto(join(folder, 'elsewhere'), packages, ['--ignore-scripts']);
    writeFileSync(join(app, 'package.json'), JSON.stringify({ name: 'app', version: '1.0.0', private: true }));
    const paths = Object.keys(dependencies).map((each) => join('../elsewhere/node_modules', each));
    run(['npm', 'link', '--ignore-scripts', '--no-audit', '--no-fund', ...paths], app, { npm_config_prefix: join(folder, 'global') });
  }
  return withPrograms(app);
}

function withPrograms(app: string): string {
  for (const file of installed) cpSync(join(root, 'test/compatibility/programs', file), join(app, file));
  return app;
}

function run([command = '', ...args]: readonly string[], cwd: string, env: NodeJS.ProcessEnv = {}): void {
  const { status } = spawnSync(command, args, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'ignore', 'inherit'] });
  if (status !== 0) throw new Error(`${[command, ...args].join(' ')} fails in ${cwd}`);
}
