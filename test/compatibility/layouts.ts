/** Example programs whose packages were installed by other tools than npm, each alone and as part of a workspace: what is a link there, the module loader must follow. */
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
  return [
    { name: 'pnpm', folder: install(join(at, 'node_modules/pnpm/bin/pnpm.cjs'), 'layout-pnpm', false) },
    { name: 'pnpm, workspace', folder: install(join(at, 'node_modules/pnpm/bin/pnpm.cjs'), 'layout-pnpm-workspace', true) },
    { name: 'yarn', folder: install(join(at, 'node_modules/yarn/bin/yarn.js'), 'layout-yarn', false) },
    { name: 'yarn, workspace', folder: install(join(at, 'node_modules/yarn/bin/yarn.js'), 'layout-yarn-workspace', true) },
  ];
}

/** @returns the folder of its programs */
function install(tool: string, name: string, isWorkspace: boolean): string {
  const folder = cacheFolder(name);
  const app = isWorkspace ? join(folder, 'packages/app') : folder;
  mkdirSync(app, { recursive: true });
  if (!existsSync(join(folder, 'node_modules'))) {
    writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'all', version: '1.0.0', private: true, workspaces: ['packages/*'] }));
    if (isWorkspace) writeFileSync(join(folder, 'pnpm-workspace.yaml'), 'packages:\n  - packages/*\n');
    writeFileSync(join(app, 'package.json'), JSON.stringify({ name: 'app', version: '1.0.0', private: true, dependencies }));
    const { status } = spawnSync(process.execPath, [tool, 'install', '--ignore-scripts'], { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] });
    if (status !== 0) throw new Error(`${tool} cannot install into ${folder}`);
  }
  for (const file of installed) cpSync(join(root, 'test/compatibility/programs', file), join(app, file));
  return app;
}
