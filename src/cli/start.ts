/** `graceful-super start`: becomes the master. */
import { realpathSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { type ConfigSources, defaultRuntimeDirs, loadConfig } from '../config/config.ts';
import { options } from '../config/options.ts';
import { kernel } from '../kernel.ts';
import { chooseRuntimeDir } from '../master/control/runtime-dir.ts';
import { checkPidFile } from '../master/pid-file.ts';
import { resolveLaunch, unresolvedNode } from '../master/workers/release.ts';
import { keepRuntime } from '../master/workers/runtime-file.ts';
import { spawnWorker } from '../master/workers/spawn.ts';
import { keepParts } from '../parts.ts';

/** Runs until the master ends. @returns its exit code */
export async function start(argv: Readonly<Record<string, unknown>>, version: string): Promise<number> {
  const env = { ...process.env };
  if (/--inspect(?!-)/.test(env['NODE_OPTIONS'] ?? '')) (await import('node:inspector')).close(); // its port is the program's
  const sources = sourcesOf(argv, env);
  const config = await loadConfig(sources);
  const node = unresolvedNode(process.argv0, process.execPath, env, sources.folder);
  // found out here, it is told plainly and nothing has begun
  const launch = await resolveLaunch(config, { env, node });
  if (config.pidFile !== undefined) checkPidFile(config.pidFile);
  const runtimeDir = chooseRuntimeDir(config.runtimeDir === undefined ? defaultRuntimeDirs(env, tmpdir()) : [config.runtimeDir]);
  const runtime = keepRuntime(runtimeDir);
  const spawned = spawnWorker(launch, { kernel, folder: runtimeDir, runtime }); // it boots while what follows is loaded
  try {
    keepParts();
    const { supervise } = await import('../master/supervise.ts');
    return await supervise({ config, runtimeDir, version, kernel, origin: { env, node }, runtime, spawned, loadConfig: () => loadConfig(sources) });
  } finally {
    await spawned.discard(); // unless it has become the first worker
    runtime.close();
  }
}

/** What the command line says, and where. */
export function sourcesOf(argv: Readonly<Record<string, unknown>>, env: Readonly<NodeJS.ProcessEnv>): ConfigSources {
  return {
    flags: Object.fromEntries(Object.keys(options).map((name) => [name, argv[name]])),
    script: argv['script'] as string | undefined,
    args: argv['--'] as string[] | undefined,
    configFile: argv['config'] as string | undefined,
    env,
    folder: logicalFolder(),
  };
}

/** The current folder as the shell knows it, symlinks unresolved: a `current` link in it is followed anew at each reload. */
function logicalFolder(): string {
  const { PWD } = process.env;
  const physical = currentFolder();
  try {
    return PWD !== undefined && realpathSync(PWD) === physical ? PWD : physical;
  } catch {
    return physical; // ENOENT: PWD is a leftover of another shell
  }
}

/** A folder that was removed under us is as good as none: what is needed from it is missed later, by name. */
function currentFolder(): string {
  try {
    return process.cwd();
  } catch {
    return process.env['PWD'] ?? '/'; // ENOENT (uv_cwd)
  }
}
