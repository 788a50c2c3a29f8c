/** Programs whose packages are linked rather than copied find each of them, and find it once: whoever installed them, in whatever layout. */
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { start, type Way, ways } from '../compatibility/runs.ts';
import { fixture, temporaryFolder } from '../helpers/rig.ts';

const LIMIT_MS = 60_000;

/** Folders of packages by what they need, links by where they lead, and where the program is. */
interface Layout {
  readonly packages: Readonly<Record<string, readonly string[]>>;
  readonly links: Readonly<Record<string, string>>;
  readonly app: string;
}

/** As these tools lay out a program that needs `web` and `store`, both of which need `shared`. */
const layouts: Readonly<Record<string, Layout>> = {
  pnpm: {
    packages: {
      'node_modules/.pnpm/web@1.0.0/node_modules/web': ['shared'],
      'node_modules/.pnpm/store@1.0.0/node_modules/store': ['shared'],
      'node_modules/.pnpm/shared@1.0.0/node_modules/shared': [],
    },
    links: {
      'node_modules/.pnpm/web@1.0.0/node_modules/shared': 'node_modules/.pnpm/shared@1.0.0/node_modules/shared',
      'node_modules/.pnpm/store@1.0.0/node_modules/shared': 'node_modules/.pnpm/shared@1.0.0/node_modules/shared',
      'node_modules/web': 'node_modules/.pnpm/web@1.0.0/node_modules/web',
      'node_modules/store': 'node_modules/.pnpm/store@1.0.0/node_modules/store',
    },
    app: '.',
  },
  'a workspace of pnpm': {
    packages: {
      'node_modules/.pnpm/web@1.0.0/node_modules/web': ['shared'],
      'node_modules/.pnpm/shared@1.0.0/node_modules/shared': [],
      'packages/store': ['shared'],
    },
    links: {
      'node_modules/.pnpm/web@1.0.0/node_modules/shared': 'node_modules/.pnpm/shared@1.0.0/node_modules/shared',
      'packages/store/node_modules/shared': 'node_modules/.pnpm/shared@1.0.0/node_modules/shared',
      'packages/app/node_modules/web': 'node_modules/.pnpm/web@1.0.0/node_modules/web',
      'packages/app/node_modules/store': 'packages/store',
    },
    app: 'packages/app',
  },
  'a workspace of npm or Yarn, hoisted': {
    packages: { 'node_modules/web': ['shared'], 'node_modules/shared': [], 'packages/store': ['shared'] },
    links: { 'node_modules/store': 'packages/store' },
    app: 'packages/app',
  },
  'npm link': {
    packages: { 'app/node_modules/web': ['shared'], 'app/node_modules/shared': [], 'elsewhere/store': ['shared'] },
    links: { 'global/store': 'elsewhere/store', 'app/node_modules/store': 'global/store', 'elsewhere/store/node_modules/shared': 'app/node_modules/shared' },
    app: 'app',
  },
  'a release behind a link': {
    packages: { 'releases/1/node_modules/web': ['shared'], 'releases/1/node_modules/store': ['shared'], 'releases/1/node_modules/shared': [] },
    links: { current: 'releases/1' },
    app: 'current',
  },
};

for (const [name, layout] of Object.entries(layouts)) {
  test(`Packages are found, and each once: ${name}`, async () => {
    using folder = temporaryFolder();
    lay(folder.path, layout);
    const [plain, supervised] = await Promise.all(ways.map((way) => run(way, join(folder.path, layout.app))));
    assert.match(plain ?? '', /"isOne":true/);
    assert.equal(supervised, plain);
  });
}

function lay(folder: string, { packages, links, app }: Layout): void {
  for (const [path, needs] of Object.entries(packages)) {
    const name = path.slice(path.lastIndexOf('/') + 1);
    mkdirSync(join(folder, path), { recursive: true });
    writeFileSync(join(folder, path, 'package.json'), JSON.stringify({ name, version: '1.0.0', main: 'index.js' }));
    const shared = needs.length > 0 ? "require('shared').id" : 'id';
    writeFileSync(join(folder, path, 'index.js'), `const id = Math.random();\nmodule.exports = { name: '${name}', at: __filename, shared: ${shared}, id };\n`);
  }
  for (const [path, target] of Object.entries(links)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    symlinkSync(join(folder, target), join(folder, path));
  }
  mkdirSync(join(folder, app), { recursive: true });
  copyFileSync(fixture('imports-twice.cjs'), join(folder, app, 'app.cjs'));
}

/** What it has found; what is random is left out. */
async function run(way: Way, cwd: string): Promise<string> {
  const { end, stdout, stderr } = await start(way, { file: join(cwd, 'app.cjs'), args: ['web', 'store'], cwd: realpathSync(cwd), limitMs: LIMIT_MS }).ended;
  assert.equal(end, 0, `${stdout}\n${stderr}`);
  return stdout.replaceAll(/0\.\d+(e-\d+)?/g, '…');
}
