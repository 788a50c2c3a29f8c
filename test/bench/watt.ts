/** Watt (Platformatic's application server): it runs a program in threads of one process, and replaces these one after the other. */
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { program, type Running, type Setting, speech } from './running.ts';

const NAME = 'bench';

/** Starts it as `wattpm start` does in production. */
export async function launchWatt(setting: Setting): Promise<Running> {
  const { port, workers, ground, tools } = setting;
  const { path, modules = '' } = tools.wattpm ?? { path: '' };
  const folder = join(ground.folder(), NAME);
  mkdirSync(folder);
  symlinkSync(modules, join(folder, 'node_modules'));
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: NAME, private: true }));
  writeFileSync(join(folder, 'server.cjs'), `require(${JSON.stringify(program('server.cjs'))});\n`);
  const runtime = { workers: { static: workers }, server: { port, hostname: '127.0.0.1', backlog: 4096 }, logger: { level: 'warn' } };
  const schema = 'https://schemas.platformatic.dev/@platformatic/node/3.65.0.json';
  writeFileSync(join(folder, 'watt.json'), JSON.stringify({ $schema: schema, node: { main: 'server.cjs' }, runtime }));
  const child = ground.spawn(process.execPath, [path, 'start'], { cwd: folder, env: speech(setting) });
  const pid = child.pid as number;
  return {
    pid,
    port,
    workers: () => threadsOf(pid),
    reload: () => ground.run(process.execPath, [path, 'restart', String(pid)], { cwd: folder }),
    stop: () => ground.end(child),
  };
}

/** Those that run the program: named after it, and numbered. */
function threadsOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`)
      .map(Number)
      .filter((thread) => new RegExp(`^${NAME}:\\d+$`, 'm').test(readFileSync(`/proc/${pid}/task/${thread}/comm`, 'utf8')));
  } catch {
    return []; // ENOENT: one has ended meanwhile
  }
}
