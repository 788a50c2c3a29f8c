/**
 * Runs the suite on other Node versions. Their binaries come from npm (the package `node` ships them) and are kept in a
 * cache outside the repository. `npm run test:matrix -- 24` runs on one of them alone.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder, installInto } from './cache.ts';

const versions = process.argv.length > 2 ? process.argv.slice(2) : ['22', '24', '26'];
/** What Node's version has no part in. */
const sameEverywhere = ['bad-input', 'configuration', 'control', 'crashes', 'logs', 'package', 'nothing-is-left-behind', 'handoff-survives-kills'].map(
  (name) => `${name}.test.ts`,
);
const suites = ['test/unit/core', 'test/e2e'].flatMap((folder) =>
  readdirSync(folder)
    .filter((file) => file.endsWith('.test.ts') && !sameEverywhere.includes(file))
    .map((file) => join(folder, file)),
);

for (const version of versions) {
  const node = install(version);
  console.log(`\n--- Node ${version} (${node})`);
  const { status } = spawnSync(node, ['--import', 'tsx', '--test', '--test-concurrency=3', '--test-reporter=spec', ...suites], {
    stdio: 'inherit',
  });
  if (status === 0) continue;
  console.error(`failed on Node ${version}`);
  process.exit(1);
}

function install(version: string): string {
  const folder = cacheFolder(`node-${version}`);
  const node = join(folder, 'node_modules/node/bin/node');
  if (existsSync(node)) return node;
  // its install script puts the binary of this platform in place
  installInto(folder, [`node@${version}`], ['--foreground-scripts']);
  if (!existsSync(node)) throw new Error(`the package node@${version} has no binary for this platform`);
  return node;
}
