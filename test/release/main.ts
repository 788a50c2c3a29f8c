/**
 * Is this ready to be published? Packs it as npm would, has each package manager install it into a project, and there starts, asks, reloads and stops a
 * program that imports it, and compiles one against its types; asks npm for known vulnerabilities in what is bundled. Run by `npm run release-check`,
 * after a build; `npm run release-check -- pnpm` tries the managers of that name alone.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Status } from '../../src/protocol/control.ts';
import { ask, poll, root, temporaryFolder } from '../helpers/rig.ts';
import { findManagers, type Manager } from './managers.ts';

const PROGRAM = `import { createServer } from 'node:http';
import { generation, onDrain } from 'graceful-super';
onDrain(({ reason }) => console.log('drains for a ' + reason));
createServer((_request, response) => response.end('generation ' + generation)).listen(0, '127.0.0.1');
`;
const TYPED = `import { createServer } from 'node:net';
import { handoff, onDrain, ready } from 'graceful-super';
onDrain(({ reason }) => console.log(reason === 'stop'));
handoff(createServer(), { export: (socket) => ({ read: socket.bytesRead }), adopt: (_socket, { read }) => console.log(read.toFixed()) });
ready();
// @ts-expect-error: it takes a function
onDrain(1);
`;
const MINUTES_MS = 60_000;
const only = process.argv[2] ?? '';
const complaints: string[] = [];

using folder = temporaryFolder();
const tarball = pack(folder.path);
for (const manager of findManagers().filter(({ name }) => name.includes(only))) await attempt(manager.name, () => tryManager(manager));
await attempt('vulnerabilities in what is bundled', async () => audit());
for (const complaint of complaints) console.error(`\n${complaint}`);
process.exitCode = complaints.length === 0 ? 0 : 1;
console.log(complaints.length === 0 ? '\nready to be published' : '\nNOT ready to be published');

async function attempt(what: string, run: () => Promise<string>): Promise<void> {
  try {
    console.log(`${what}: ${await run()}`);
  } catch (error) {
    console.log(`${what}: FAILS`);
    complaints.push(`${what}: ${error instanceof Error ? error.message : error}`);
  }
}

function pack(into: string): string {
  const [packed] = JSON.parse(succeed(['npm', 'pack', '--json', '--ignore-scripts', '--pack-destination', into], root)) as [{ filename: string }];
  return join(into, packed.filename);
}

async function tryManager(manager: Manager): Promise<string> {
  using temporary = temporaryFolder();
  const project = realpathSync(temporary.path);
  writeFileSync(join(project, 'package.json'), '{ "name": "project", "version": "1.0.0", "private": true, "type": "module" }\n');
  writeFileSync(join(project, 'program.js'), PROGRAM);
  writeFileSync(join(project, 'typed.ts'), TYPED);
  manager.prepare?.(project);
  succeed([...manager.command, ...manager.add(tarball)], project);
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  assert.equal(succeed([...manager.command, ...manager.run, 'graceful-super', '--version'], project).trim(), version, '--version');
  if (manager.hasModules) {
    const installed = readdirSync(join(project, 'node_modules')).filter((name) => !name.startsWith('.'));
    assert.deepEqual(installed, ['graceful-super'], 'nothing else is installed');
    compile(project);
  }
  await runIn(project, (...args) => [...manager.command, ...manager.run, 'graceful-super', ...args, '--runtime-dir', join(project, 'run')]);
  return `installs${manager.hasModules ? ', compiles' : ''}, starts, reloads and stops`;
}

/** With what a user of TypeScript has besides. */
function compile(project: string): void {
  mkdirSync(join(project, 'node_modules/@types'));
  symlinkSync(join(root, 'node_modules/@types/node'), join(project, 'node_modules/@types/node'));
  const options = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2022', '--types', 'node', '--ignoreConfig'];
  succeed([join(root, 'node_modules/.bin/tsc'), ...options, 'typed.ts'], project);
}

async function runIn(project: string, command: (...args: string[]) => string[]): Promise<void> {
  const [file = '', ...args] = command('start', './program.js', '--name', 'tried', '--probation', '0s');
  const master = spawn(file, args, { cwd: project, env: environment(), stdio: ['ignore', 'pipe', 'pipe'] });
  const said: string[] = [];
  for (const stream of [master.stdout, master.stderr]) stream.setEncoding('utf8').on('data', (text: string) => said.push(text));
  const ended = once(master, 'close');
  try {
    const status = (): Status | undefined => {
      const { status: code, stdout } = run(command('status', 'tried', '--json'), project);
      return code === 0 ? (JSON.parse(stdout.slice(stdout.indexOf('{'))) as Status) : undefined;
    };
    let first: Status | undefined;
    await poll(
      () => {
        first = status();
        return first?.generation === 1 || master.exitCode !== null;
      },
      () => `it does not start:\n${said.join('')}`,
    );
    assert.ok(first, `it does not start:\n${said.join('')}`);
    const url = `http://${first.listeners[0]?.address}`;
    assert.equal((await ask(url)).text, 'generation 1');
    succeed(command('reload', 'tried'), project);
    assert.equal((await ask(url)).text, 'generation 2', 'after the reload');
    succeed(command('stop', 'tried'), project);
    const [code] = (await ended) as [number | null];
    assert.deepEqual([code, /drains for a reload.*drains for a stop/s.test(said.join(''))], [0, true], said.join(''));
    assert.deepEqual(readdirSync(join(project, 'run')), [], 'nothing is left in the control folder');
  } finally {
    await endIfNeeded(master, ended, () => run(command('stop', 'tried'), project));
  }
}

async function endIfNeeded(master: ChildProcess, ended: Promise<unknown>, stop: () => unknown): Promise<void> {
  if (master.exitCode !== null || master.signalCode !== null) return;
  stop();
  const timer = setTimeout(() => master.kill('SIGKILL'), MINUTES_MS / 4);
  await ended;
  clearTimeout(timer);
}

/** Only our release mends them: see docs/architecture.md. */
function audit(): string {
  const { stdout, stderr } = run(['npm', 'audit', '--package-lock-only', '--json'], root);
  const { vulnerabilities } = JSON.parse(stdout || '{}') as { vulnerabilities?: Record<string, { severity: string; range: string }> };
  if (vulnerabilities === undefined) return `not known, since npm can't be asked (${stderr.split('\n')[0]})`;
  const names = [...readFileSync(join(root, 'dist/licences.txt'), 'utf8').matchAll(/^(\S+) \d\S* \(/gm)].map(([, name]) => name);
  const found = Object.entries(vulnerabilities).filter(([name]) => names.includes(name));
  assert.deepEqual(
    found.map(([name, { severity, range }]) => `${name} ${range}: ${severity}`),
    [],
    'npm audit: update them',
  );
  return 'none known';
}

function succeed(command: readonly string[], cwd: string): string {
  const { status, stdout, stderr } = run(command, cwd);
  assert.equal(status, 0, `${command.join(' ')}\n${stdout}\n${stderr}`);
  return stdout;
}

function run([file = '', ...args]: readonly string[], cwd: string) {
  return spawnSync(file, args, { cwd, encoding: 'utf8', env: environment(), timeout: 3 * MINUTES_MS });
}

/** Without what npm tells scripts, and says to people. */
function environment(): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([name]) => !/^(npm_(?!config_(cache|registry))|INIT_CWD|NODE_OPTIONS)/.test(name));
  return { ...Object.fromEntries(own), npm_config_audit: 'false', npm_config_fund: 'false', npm_config_update_notifier: 'false', CI: '1' };
}
