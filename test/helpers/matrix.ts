/**
 * Runs the suite on other Node versions. Their binaries come from npm (the package `node` ships them) and are kept in a
 * cache outside the repository. `npm run test:matrix -- 24` runs on one of them alone.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder, installInto } from './cache.ts';

const versions = process.argv.length > 2 ? process.argv.slice(2) : ['22', '24', '26'];
/** End-to-end tests that Node's version has a part in: its servers, connections, channels, handles and signals. */
const dependent = [
  'another-program',
  'chat-worker',
  'compatibility',
  'datagrams',
  'drain',
  'echo-worker',
  'given-to-children',
  'handoff-awaits',
  'handoff-http',
  'handoff-http-declined',
  'handoff-http-programs',
  'handoff-http-timeouts',
  'handoff-http2',
  'handoff-tcp',
  'handoff-tls',
  'handoff-websocket',
  'health-check',
  'health-page',
  'installed-by-links',
  'listeners',
  'master-outlives-its-package',
  'no-connection-is-refused',
  'no-datagram-is-lost',
  'no-idle-connection-is-dropped',
  'no-request-is-lost',
  'node-options',
  'own-cluster',
  'preflight',
  'programs',
  'sick-workers-are-replaced',
  'socket-activation',
  'worker-api',
].map((name) => join('test/e2e', `${name}.test.ts`));
const folders = ['test/unit/node', 'test/unit/worker'];
const units = folders.flatMap((folder) => readdirSync(folder, { encoding: 'utf8', recursive: true }).map((file) => join(folder, file)));
const suites = [...units.filter((path) => path.endsWith('.test.ts')), ...dependent];

for (const version of versions) {
  const node = install(version);
  console.log(`\n--- Node ${version} (${node})`);
  const flags = ['--test-concurrency=3', '--test-timeout=600000', '--test-reporter=spec'];
  const { status } = spawnSync(node, ['--import', 'tsx', '--test', ...flags, ...suites], { stdio: 'inherit' });
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
