/** Who is measured: how each is started, told to reload, and stopped; all with their own means, as their documentation says. */
import { type ChildProcess, execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { answerOf, childrenOf, type Ground, isAlive, until } from './ground.ts';
import type { Tool, Tools } from './tools.ts';

/** What is to run. */
export interface Setting {
  readonly port: number;
  readonly workers: number;
  readonly ground: Ground;
  readonly tools: Tools;
  /** More flags for graceful-super. */
  readonly flags?: readonly string[];
  /** File that `marks.cjs` writes to; only graceful-super and bare Node. */
  readonly marks?: string;
}

/** A competitor that serves. */
export interface Running {
  /** The process that supervises, or serves itself. */
  readonly pid: number;
  readonly port: number;
  /** Processes that serve. */
  workers(): number[];
  /** Settles when it has been told; what comes of it is for others to see. */
  reload(): Promise<void>;
  /** Ends it and all that it started. */
  stop(): Promise<void>;
}

export interface Competitor {
  readonly name: string;
  /** Runs the same Node program as the others that do. */
  readonly isNode: boolean;
  readonly needs?: Tool;
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

export const bin: string = fileURLToPath(new URL('../../bin/graceful-super.js', import.meta.url));

export const competitors: readonly Competitor[] = [
  { name: BARE, isNode: true, canReload: false, mostWorkers: 1, launch: launchBare },
  { name: OURS, isNode: true, canReload: true, mostWorkers: MANY, launch: launchOurs },
  { name: 'cluster, round robin', isNode: true, canReload: true, mostWorkers: MANY, launch: (setting) => launchCluster(setting, 'rr') },
  { name: 'cluster, shared', isNode: true, canReload: true, mostWorkers: MANY, launch: (setting) => launchCluster(setting, 'none') },
  { name: 'PM2', isNode: true, canReload: true, mostWorkers: MANY, needs: 'pm2', launch: launchPm2 },
  { name: 'start_server + node', isNode: true, canReload: true, mostWorkers: 1, needs: 'start_server', launch: launchStartServer },
  { name: 'nginx (static)', isNode: false, canReload: true, mostWorkers: MANY, needs: 'nginx', launch: launchNginx },
  { name: 'gunicorn', isNode: false, canReload: true, mostWorkers: MANY, needs: 'gunicorn', launch: launchGunicorn },
  { name: 'puma', isNode: false, canReload: true, mostWorkers: MANY, needs: 'puma', launch: launchPuma },
];

/** Starts it and waits until as many workers as wanted are there and one has answered. */
export async function start(competitor: Competitor, setting: Setting): Promise<Running> {
  const running = await competitor.launch(setting);
  try {
    await until(async () => (await answerOf(setting.port)) !== undefined, `${competitor.name} to answer`);
    await until(() => running.workers().length >= setting.workers, `${setting.workers} workers of ${competitor.name}`);
    return running;
  } catch (error) {
    throw new Error(`${error instanceof Error ? error.message : error}\n${setting.ground.printed()}`);
  }
}

export function program(name: string): string {
  return fileURLToPath(new URL(`programs/${name}`, import.meta.url));
}

async function launchBare({ port, ground, marks }: Setting): Promise<Running> {
  const args = marks === undefined ? [] : ['--require', program('marks.cjs')];
  const child = ground.spawn(process.execPath, [...args, program('server.cjs')], { env: { PORT: String(port), ...markEnv(marks) } });
  return ordinary(child, port, ground, { workers: () => [child.pid as number] });
}

async function launchOurs({ port, workers, ground, flags = [], marks }: Setting): Promise<Running> {
  const [master, worker] = marks === undefined ? [[], []] : [['--require', program('marks.cjs')], [`--node-arg=--require=${program('marks.cjs')}`]];
  const args = [...master, bin, 'start', program('server.cjs'), '--workers', String(workers), '--runtime-dir', ground.folder(), ...worker, ...flags];
  const child = ground.spawn(process.execPath, args, { env: { PORT: String(port), ...markEnv(marks) } });
  return ordinary(child, port, ground);
}

function markEnv(marks: string | undefined): Record<string, string> {
  return marks === undefined ? {} : { BENCH_MARKS: marks };
}

async function launchCluster({ port, workers, ground }: Setting, policy: 'rr' | 'none'): Promise<Running> {
  const child = ground.spawn(process.execPath, [program('cluster.cjs')], {
    env: { PORT: String(port), WORKERS: String(workers), NODE_CLUSTER_SCHED_POLICY: policy },
  });
  return ordinary(child, port, ground);
}

async function launchPm2({ port, workers, ground, tools }: Setting): Promise<Running> {
  const home = ground.folder();
  const pm2 = (...args: string[]) => ground.run(process.execPath, [tools.pm2?.path ?? '', ...args], { env: { PM2_HOME: home, PORT: String(port) } });
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

async function launchNginx({ port, workers, ground, tools }: Setting): Promise<Running> {
  const folder = ground.folder();
  const config = `daemon off; pid ${folder}/pid; error_log ${folder}/error.log; worker_processes ${workers};
events { worker_connections 16384; }
http {
  access_log off; keepalive_requests 1000000000; keepalive_timeout 75s;
  client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy; fastcgi_temp_path ${folder}/f; uwsgi_temp_path ${folder}/u; scgi_temp_path ${folder}/s;
  server { listen 127.0.0.1:${port} backlog=4096; location / { return 200 $pid; } }
}\n`;
  writeFileSync(join(folder, 'nginx.conf'), config);
  const child = ground.spawn(tools.nginx?.path ?? '', ['-c', join(folder, 'nginx.conf'), '-p', folder]);
  return ordinary(child, port, ground, { stop: 'SIGQUIT' });
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

interface Manners {
  readonly workers?: () => number[];
  readonly reload?: NodeJS.Signals;
  readonly stop?: NodeJS.Signals;
}

/** A process in the foreground whose children serve. */
function ordinary(child: ChildProcess, port: number, ground: Ground, { workers, reload = 'SIGHUP', stop = 'SIGTERM' }: Manners = {}): Running {
  const pid = child.pid as number;
  return {
    pid,
    port,
    workers: workers ?? (() => childrenOf(pid)),
    async reload() {
      child.kill(reload);
    },
    stop: () => ground.end(child, stop),
  };
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
