/** Who is measured: how each is started, told to reload, and stopped; all with their own means, as their documentation says. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isEncrypted, type Protocol, protocols } from './connections.ts';
import { answerOf, childrenOf, isAlive, runs, until } from './ground.ts';
import { launchHaproxy, launchNginx } from './proxies.ts';
import { ordinary, program, type Running, type Setting, speech } from './running.ts';
import type { Tool, Tools } from './tools.ts';
import { launchWatt } from './watt.ts';

export interface Competitor {
  readonly name: string;
  /** Runs the same Node program as the others that do. */
  readonly isNode: boolean;
  readonly needs?: Tool;
  /** What it is asked for, where there are several protocols. */
  readonly speaks: readonly Protocol[];
  /** Bare Node is ended and started again instead. */
  readonly canReload: boolean;
  readonly mostWorkers: number;
  /** Gives the command; whether it serves yet is for others to see. */
  launch(setting: Setting): Promise<Running>;
}

export const OURS = 'graceful-super';
/** Where the time that a reload takes is measured: old code goes at once, as with everybody else. */
export const AT_ONCE: readonly string[] = ['--probation', '0s'];
export const BARE = 'node server.js';
const MANY = 1024;
/** For bare Node's requests under way: less than the time between two reloads. */
const MERCY_MS = 2_000;

export const bin: string = fileURLToPath(new URL('../../bin/graceful-super.js', import.meta.url));

const http = ['http'] as const;

export const competitors: readonly Competitor[] = [
  { name: BARE, isNode: true, speaks: protocols, canReload: false, mostWorkers: 1, launch: launchBare },
  { name: OURS, isNode: true, speaks: protocols, canReload: true, mostWorkers: MANY, launch: launchOurs },
  { name: 'cluster, round robin', isNode: true, speaks: protocols, canReload: true, mostWorkers: MANY, launch: (setting) => launchCluster(setting, 'rr') },
  { name: 'cluster, shared', isNode: true, speaks: http, canReload: true, mostWorkers: MANY, launch: (setting) => launchCluster(setting, 'none') },
  { name: 'PM2', isNode: true, speaks: protocols, canReload: true, mostWorkers: MANY, needs: 'pm2', launch: launchPm2 },
  { name: 'Watt', isNode: true, speaks: protocols, canReload: true, mostWorkers: MANY, needs: 'wattpm', launch: launchWatt },
  { name: 'start_server + node', isNode: true, speaks: http, canReload: true, mostWorkers: 1, needs: 'start_server', launch: launchStartServer },
  { name: 'nginx (static)', isNode: false, speaks: protocols, canReload: true, mostWorkers: MANY, needs: 'nginx', launch: launchNginx },
  { name: 'HAProxy (static)', isNode: false, speaks: protocols, canReload: true, mostWorkers: 1, needs: 'haproxy', launch: launchHaproxy },
  { name: 'gunicorn', isNode: false, speaks: http, canReload: true, mostWorkers: MANY, needs: 'gunicorn', launch: launchGunicorn },
  { name: 'puma', isNode: false, speaks: http, canReload: true, mostWorkers: MANY, needs: 'puma', launch: launchPuma },
];

/** Starts it and waits until as many workers as wanted are there and one has answered. */
export async function start(competitor: Competitor, setting: Setting): Promise<Running> {
  const running = await competitor.launch(setting);
  try {
    await until(async () => (await answerOf(setting.port, setting.protocol)) !== undefined, `${competitor.name} to answer`);
    await until(() => running.workers().length >= setting.workers, `${setting.workers} workers of ${competitor.name}`);
    return running;
  } catch (error) {
    throw new Error(`${error instanceof Error ? error.message : error}\n${setting.ground.printed()}`);
  }
}

async function launchBare(setting: Setting): Promise<Running> {
  const { port, ground, marks } = setting;
  const args = marks === undefined ? [] : ['--require', program('marks.cjs')];
  const run = () => ground.spawn(process.execPath, [...args, program('server.cjs')], { env: { ...speech(setting), ...markEnv(marks) } });
  let child = run();
  return {
    get pid() {
      return child.pid as number;
    },
    port,
    workers: () => [child.pid as number],
    async reload() {
      await ground.endAlone(child, 'SIGTERM', MERCY_MS);
      child = run();
    },
    stop: () => ground.end(child),
  };
}

async function launchOurs(setting: Setting): Promise<Running> {
  const { port, workers: count, ground, flags = [], marks, protocol = 'http' } = setting;
  const [master, worker] = marks === undefined ? [[], []] : [['--require', program('marks.cjs')], [`--node-arg=--require=${program('marks.cjs')}`]];
  const all = ['--workers', String(count), '--runtime-dir', ground.folder(), ...worker, ...flags];
  const child = ground.spawn(process.execPath, [...master, bin, 'start', program('server.cjs'), ...all], {
    env: { ...speech(setting), ...markEnv(marks), ...(isEncrypted(protocol) && { GRACEFUL_SUPER_HANDOFF_TLS: '1' }) },
  });
  const workers = () => childrenOf(child.pid as number).filter((one) => runs(one, process.execPath)); // beside them is a shell that would clean up
  return ordinary(child, port, ground, { workers });
}

function markEnv(marks: string | undefined): Record<string, string> {
  return marks === undefined ? {} : { BENCH_MARKS: marks };
}

async function launchCluster(setting: Setting, policy: 'rr' | 'none'): Promise<Running> {
  const { port, workers, ground } = setting;
  const env = { ...speech(setting), WORKERS: String(workers), NODE_CLUSTER_SCHED_POLICY: policy };
  const child = ground.spawn(process.execPath, [program('cluster.cjs')], { env });
  return ordinary(child, port, ground);
}

async function launchPm2(setting: Setting): Promise<Running> {
  const { port, workers, ground, tools } = setting;
  const home = ground.folder();
  const pm2 = (...args: string[]) => ground.run(process.execPath, [tools.pm2?.path ?? '', ...args], { env: { ...speech(setting), PM2_HOME: home } });
  await pm2('start', program('server.cjs'), '--instances', String(workers), '--name', 'bench');
  const pid = Number(readFileSync(join(home, 'pm2.pid'), 'utf8'));
  return {
    pid,
    port,
    workers: () => childrenOf(pid),
    reload: () => pm2('reload', 'bench'),
    async stop() {
      await pm2('kill');
      await until(() => !isAlive(pid), 'the daemon of PM2 to end');
      ground.killAll();
    },
  };
}

async function launchStartServer({ port, ground, tools }: Setting): Promise<Running> {
  const args = [`--port=127.0.0.1:${port}`, '--interval=1', '--', process.execPath, program('server.cjs')];
  return ordinary(ground.spawn(tools.start_server?.path ?? '', args), port, ground);
}

async function launchGunicorn({ port, workers, ground, tools }: Setting): Promise<Running> {
  const args = ['--worker-class', 'gthread', '--threads', '32', '--keep-alive', '65', '--workers', String(workers), '--bind', `127.0.0.1:${port}`, 'app:app'];
  return ordinary(ground.spawn(tools.gunicorn?.path ?? '', ['--chdir', program('.'), ...args]), port, ground);
}

async function launchPuma({ port, workers, ground, tools }: Setting): Promise<Running> {
  const folder = ground.folder();
  const config = `workers ${workers}\nthreads 16, 16\nbind 'tcp://127.0.0.1:${port}'\npersistent_timeout 65\nquiet\n`;
  writeFileSync(join(folder, 'puma.rb'), config);
  const child = ground.spawn(tools.puma?.path ?? '', ['--config', join(folder, 'puma.rb'), '--environment', 'production', program('config.ru')], {
    cwd: folder,
  });
  return ordinary(child, port, ground, { reload: 'SIGUSR1' }); // a phased restart
}

/** Versions of all that takes part. */
export function versionsOf(tools: Tools): Record<string, string> {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string };
  const commit = execFileSync('git', ['describe', '--always', '--dirty', '--exclude', '*'], {
    encoding: 'utf8',
    cwd: fileURLToPath(new URL('.', import.meta.url)),
  }).trim();
  const others = Object.entries(tools).map(([name, found]) => [name, found.version] as const);
  return { [OURS]: `${version} (${commit})`, node: process.versions.node, ...Object.fromEntries(others) };
}
