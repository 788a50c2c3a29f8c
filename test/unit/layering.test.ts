/** Who may import whom is enforced: the linter reports what is planted here, in a copy of the layers, and nothing else. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { makeFolder } from './helpers/folder.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const use = 'import { x } from';

/** Layer → what it may not do. */
const forbidden: Planted = [
  ['core', "import { readFileSync } from 'node:fs'; readFileSync('x');"],
  ['core', "import { readFileSync } from 'fs'; readFileSync('x');"],
  ['core', "export const read = () => import('node:fs');"],
  ['core', "export { readFileSync } from 'node:fs';"],
  ...['Date.now()', 'performance.now()', 'setTimeout(() => {}, 1)', 'process.pid', 'console.log(1)'].map(
    (call) => ['core', `export const x = ${call};`] as const,
  ),
  ...['master/loop.ts', 'worker/drain.ts', 'protocol/worker.ts', 'config/config.ts', 'errors.ts'].map((path) => ['core', `${use} '../${path}'; x();`] as const),
  ['core', "import type { Config } from '../config/config.ts'; export type C = Config;"],
  ['master', `${use} '../worker/drain.ts'; x();`],
  ['master', `${use} '../cli/main.ts'; x();`],
  ['master', `${use} '../tickets.ts'; x();`],
  ['master', 'setTimeout(() => {}, 1);'],
  ['master/control', `${use} '../workers/pool.ts'; x();`],
  ['master/control', `${use} '../supervisor.ts'; x();`],
  ['master/control', `${use} '../../node/handle.ts'; x();`],
  ['master/handoff', `${use} '../workers/pool.ts'; x();`],
  ['master/handoff', "import type { WorkerPool } from '../workers/pool.ts'; export type P = WorkerPool;"],
  ['master/listeners', `${use} '../control/claim.ts'; x();`],
  ['master/listeners', `${use} '../../core/fleet.ts'; x();`],
  ['master/listeners', "export const read = () => import('../workers/pool.ts');"],
  ['master/log', `${use} '../loop.ts'; x();`],
  ['master/systemd', `${use} '../listeners/listeners.ts'; x();`],
  ['master/workers', `${use} '../control/claim.ts'; x();`],
  ['master/workers', `${use} '../supervisor.ts'; x();`],
  ['master/workers', 'setInterval(() => {}, 1);'],
  ['worker', `${use} '../kernel.ts'; x();`],
  ['master/log', `${use} '../../kernel.ts'; x();`],
  ['worker', `${use} '../master/loop.ts'; x();`],
  ['worker', `${use} '../core/fleet.ts'; x();`],
  ['worker/closing', `${use} '../../master/loop.ts'; x();`],
  ['worker/closing', `${use} '../handoff/mover.ts'; x();`],
  ['worker/handoff', `${use} '../drain.ts'; x();`],
  ['worker/handoff/tls', `${use} '../mover.ts'; x();`],
  ['worker/handoff/http2', `${use} '../mover.ts'; x();`],
  ['protocol', `${use} '../core/event.ts'; x();`],
  ['protocol', `${use} '../errors.ts'; x();`],
  ['config', `${use} '../core/event.ts'; x();`],
  ['node', `${use} '../protocol/worker.ts'; x();`],
  ['cli', `${use} '../core/fleet.ts'; x();`],
  ['cli', `${use} '../tickets.ts'; x();`],
  ['cli/unit', `${use} '../client.ts'; x();`],
];

/** Layer → what it may do. */
const allowed: Planted = [
  ['core', "import type { Policy } from './event.ts'; export type P = Policy;"],
  ['core', `${use} './worker.ts'; x();`],
  ['master', `${use} '../core/worker.ts'; x();`],
  ['master', `${use} '../protocol/worker.ts'; x();`],
  ['master', "import { readFileSync } from 'node:fs'; readFileSync('x');"],
  ['master', 'export const x = Date.now();'],
  ['master', `${use} './workers/pool.ts'; x();`],
  ['master/control', `${use} '../log/wording.ts'; x();`],
  ['master/listeners', `${use} '../../unix-socket.ts'; x();`],
  ['master/workers', `${use} '../handoff/router.ts'; x();`],
  ['master/workers', `${use} './spawn.ts'; x();`],
  ['master/workers', `${use} '../../kernel.ts'; x();`],
  ['master/systemd', 'setTimeout(() => {}, 1);'],
  ['worker', `${use} '../node/handle.ts'; x();`],
  ['worker', `${use} './handoff/mover.ts'; x();`],
  ['worker/handoff', `${use} '../servers.ts'; x();`],
  ['worker/handoff/tls', `${use} '../carrier.ts'; x();`],
  ['worker/handoff/tls', `${use} '../../../node/tls.ts'; x();`],
  ['worker/handoff/http2', `${use} '../../servers.ts'; x();`],
  ['worker', `${use} '../protocol/worker.ts'; x();`],
  ['config', `${use} '../protocol/worker.ts'; x();`],
  ['cli', `${use} '../master/supervisor.ts'; x();`],
  ['cli', `${use} './unit/unit.ts'; x();`],
  ['cli/unit', `${use} '../start.ts'; x();`],
];

interface Diagnostic {
  readonly category: string;
  readonly location: { readonly path: string };
}

type Planted = readonly (readonly [layer: string, code: string])[];

/** Whether each of them is reported. */
function lint(planted: Planted): boolean[] {
  using folder = makeFolder();
  copyFileSync(join(root, 'biome.json'), join(folder.path, 'biome.json'));
  const files = planted.map(([layer, code], index) => [`src/${layer}/planted-${index}.ts`, `${code}\n`] as const);
  for (const [file, code] of files) folder.write(file, code);
  const biome = join(root, 'node_modules/.bin/biome');
  const { stdout } = spawnSync(biome, ['lint', '--reporter=json', '--max-diagnostics=none', 'src'], { cwd: folder.path, encoding: 'utf8' });
  const { diagnostics } = JSON.parse(stdout) as { readonly diagnostics: readonly Diagnostic[] };
  return files.map(([file]) => diagnostics.some(({ category, location }) => location.path === file && category.startsWith('lint/')));
}

for (const [verdict, planted, isReported] of [
  ['is reported', forbidden, true],
  ['is allowed', allowed, false],
] as const) {
  describe(`what ${verdict}`, () => {
    const reports = lint(planted);
    for (const [index, [layer, code]] of planted.entries()) test(`in ${layer}: ${code}`, () => assert.equal(reports[index], isReported));
  });
}

const folders = readdirSync(join(root, 'src'), { recursive: true, withFileTypes: true }).flatMap((entry) =>
  entry.isDirectory() ? [relative(join(root, 'src'), join(entry.parentPath, entry.name))] : [],
);
const rules = (JSON.parse(readFileSync(join(root, 'biome.json'), 'utf8')) as { readonly overrides: readonly { readonly includes: readonly string[] }[] })
  .overrides;
const page = readFileSync(join(root, 'docs/architecture.md'), 'utf8');

describe('every folder of src', () => {
  for (const folder of folders) {
    test(`${folder} has a rule, and a line in docs/architecture.md`, () => {
      assert.ok(rules.some(({ includes }) => includes.includes(`src/${folder}/**`)));
      assert.match(page, new RegExp(`^\\| \`${folder}\` \\| `, 'm'));
    });
  }
});
