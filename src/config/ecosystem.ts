/**
 * PM2's ecosystem file, read as a configuration of ours: one app of it. What has no counterpart and would be missed is refused by name; where PM2 keeps logs
 * and how often it restarts means nothing here. @see PM2's documentation, "Ecosystem File"
 */
import { GracefulError } from '../errors.ts';

type Values = Readonly<Record<string, unknown>>;

/** One app: its key → what it is here. */
const counterparts: Readonly<Record<string, (value: unknown) => Values>> = {
  name: (value) => ({ name: value }),
  script: (value) => ({ script: value }),
  args: (value) => ({ args: wordsOf(value) }),
  cwd: (value) => ({ cwd: value }),
  env: (value) => ({ env: Object.fromEntries(Object.entries(value as object).map(([key, text]) => [key, String(text)])) }),
  instances: (value) => ({ workers: value === 'max' || Number(value) === 0 ? 'auto' : value }),
  node_args: (value) => ({ nodeArg: wordsOf(value) }),
  interpreter_args: (value) => ({ nodeArg: wordsOf(value) }),
  interpreter: (value) => (value === 'node' ? {} : { node: value }),
  max_memory_restart: (value) => ({ maxMemory: typeof value === 'number' ? `${Math.ceil(value / 1024)}K` : value }),
  wait_ready: (value) => ({ waitReady: value }),
  listen_timeout: (value) => ({ readyTimeout: milliseconds(value) }),
  kill_timeout: (value) => ({ killTimeout: milliseconds(value) }),
  autorestart: (value) => (value === false ? { restart: 'never' } : {}),
  pid_file: (value) => ({ pidFile: value }),
};

/** What a program would miss, if it is asked for. */
const missed = ['watch', 'cron_restart', 'stop_exit_codes', 'uid', 'gid', 'user', 'increment_var', 'instance_var', 'append_env_to_name', 'node_version'];

/** @param wanted name of the app; needed where there are several @returns undefined: it is no ecosystem file @throws GracefulError `config-invalid` */
export function fromEcosystem(value: Values, path: string, wanted: unknown): Values | undefined {
  if (!('apps' in value)) return undefined;
  const apps = [value['apps']].flat() as Values[];
  const app = choose(apps, path, wanted);
  const without = missed.filter((key) => app[key] !== undefined && app[key] !== false);
  if (without.length > 0) {
    throw new GracefulError('config-invalid', `${path} is written for PM2, and ${without.join(', ')} of it has no counterpart here`, {
      hint: 'leave it out; docs/configuration.md says what is read of such a file',
    });
  }
  return Object.assign({}, ...Object.entries(counterparts).map(([key, translate]) => (app[key] === undefined ? {} : translate(app[key])))) as Values;
}

function choose(apps: readonly Values[], path: string, wanted: unknown): Values {
  const names = apps.map((app) => String(app['name'] ?? app['script']));
  const chosen = wanted === undefined ? apps : apps.filter((app) => app['name'] === wanted);
  const [only, ...more] = chosen.length === 0 && apps.length === 1 ? apps : chosen;
  if (only !== undefined && more.length === 0) return only;
  throw new GracefulError('config-invalid', `${path} is written for PM2 and has ${apps.length} apps: ${names.join(', ')}`, {
    hint: 'a master runs one program: choose it by --name, and start a master for each',
  });
}

function wordsOf(value: unknown): unknown {
  return typeof value === 'string' ? value.split(/\s+/).filter(Boolean) : value;
}

function milliseconds(value: unknown): unknown {
  return typeof value === 'number' || /^\d+$/.test(String(value)) ? `${value}ms` : value;
}
