/**
 * Runs the suite on other Node versions. Their binaries come from npm (the package `node` ships them) and are kept in a
 * cache outside the repository. `npm run test:matrix -- 24` runs on one of them alone.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

const versions = process.argv.length > 2 ? process.argv.slice(2) : ['22', '24', '26'];
// some tests start the binary as another user, who can't look into root's home
const cache = join(process.getuid?.() === 0 ? '/var/cache' : (process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache')), 'graceful-super-test');
/** End-to-end tests that Node's version has a part in: its servers, connections, channels, handles and signals. */
const dependent = [
  'chat-worker',
  'drain',
  'echo-worker',
  'handoff-awaits',
  'handoff-http',
  'handoff-http-declined',
  'handoff-http-programs',
  'handoff-http-timeouts',
  'handoff-tcp',
  'handoff-websocket',
  'health-check',
  'health-page',
  'listeners',
  'no-connection-is-refused',
  'no-idle-connection-is-dropped',
  'no-request-is-lost',
  'preflight',
  'programs',
  'sick-workers-are-replaced',
  'socket-activation',
  'worker-api',
].map((name) => join('test/e2e', `${name}.test.ts`));
const folders = ['test/unit/node', 'test/unit/worker'];
const suites = [...folders.flatMap((folder) => readdirSync(folder).map((file) => join(folder, file))), ...dependent];

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
  const folder = join(cache, `node-${version}`);
  const node = join(folder, 'node_modules/node/bin/node');
  if (existsSync(node)) return node;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{ "private": true }\n');
  // its install script puts the binary of this platform in place
  const { status } = spawnSync('npm', ['install', '--no-audit', '--no-fund', '--foreground-scripts', `node@${version}`], { cwd: folder, stdio: 'inherit' });
  if (status !== 0 || !existsSync(node)) throw new Error(`cannot install Node ${version} from npm into ${folder}`);
  return node;
}
