/** Every option: its form, its default, its help. The one place that knows them all. */
import { defaultTimes } from '../protocol/worker.ts';
import {
  duration,
  type Form,
  form,
  list,
  oneOf,
  size,
  text,
  toggle,
  toHealthRequest,
  toListenSpec,
  toName,
  toStatusRange,
  toSurge,
  toWorkers,
  whole,
} from './forms.ts';

/** One option of `start`, of the environment and of the configuration file. */
export interface Option {
  readonly form: Form<unknown>;
  /** What holds where nothing is said; written as a user would. */
  readonly preset: unknown;
  readonly help: string;
  /** `list` may be given several times, `toggle` takes no value; `path` is relative to where it is written, and so is a `command` with a slash in it. */
  readonly kind: 'value' | 'list' | 'toggle' | 'path' | 'path-list' | 'command';
  /** Word for the value in the help. */
  readonly value: string | undefined;
}

/** Every option, in the order of the help. */
export const options: Readonly<Record<string, Option>> = {
  name: option(
    form('1 to 64 letters, digits, ".", "_" or "-", not starting with "." or "-"', toName),
    undefined,
    'Name of this master (default: from the script)',
    {},
  ),
  workers: option(form('a whole number from 1 to 1024, or "auto"', toWorkers), 1, 'Worker processes; auto: one a core', { value: 'N|auto' }),
  listen: option(
    list(form('[HOST:]PORT, udp:[HOST:]PORT or unix:/path, with ",name=NAME" or ",mode=OCTAL" added', toListenSpec)),
    [],
    'Address to hold from the start, [HOST:]PORT, udp:[HOST:]PORT or unix:/path',
    {
      kind: 'list',
      value: 'ADDRESS',
    },
  ),
  backlog: option(whole(1, 65535), undefined, 'Length of the accept queues (default: what the program asks for, at least 511)', { value: 'N' }),
  waitReady: option(toggle(), false, 'Ready means that the program called ready(), not that it listens', { kind: 'toggle' }),
  readyTimeout: option(duration(1), '30s', 'How long a new worker may take to be ready', { value: 'TIME' }),
  preflight: option(
    list(form('a path such as /healthz, or :PORT/PATH', toHealthRequest)),
    [],
    'Page that must answer before a new worker accepts; may be given several times',
    { kind: 'list', value: '[:PORT]/PATH' },
  ),
  preflightStatus: option(
    list(form('a status from 200 to 599 such as 204, or a range such as 200-299', toStatusRange)),
    ['200-299'],
    'Status that a page of --preflight or --health may answer with',
    {
      kind: 'list',
      value: 'N|N-M',
    },
  ),
  preflightTimeout: option(duration(1), '5s', 'How long each such answer may take; it is asked for again until --ready-timeout', { value: 'TIME' }),
  surge: option(form('a whole number from 1 to 1024, or "all"', toSurge), 'all', 'Workers of a new generation that start at once', { value: 'N|all' }),
  probation: option(duration(0), '1s', 'How long both generations serve before the old one drains', { value: 'TIME' }),
  allowAddressChange: option(toggle(), false, 'A reload may leave an address of the old code without anybody', { kind: 'toggle' }),
  handoff: option(toggle(), true, 'Established connections go on in the new workers; --no-handoff: they end gracefully', { kind: 'toggle' }),
  handoffTls: option(toggle(), false, 'So do connections behind TLS 1.3 that Node itself ends: workers then keep their traffic secrets in memory', {
    kind: 'toggle',
  }),
  idleGrace: option(duration(0), seconds(defaultTimes.idleGraceMs), 'How long an idle connection stays open while its worker drains', { value: 'TIME' }),
  drainTimeout: option(duration(0), seconds(defaultTimes.drainTimeoutMs), 'How long a worker may drain before what is open is closed', { value: 'TIME' }),
  killTimeout: option(duration(0), seconds(defaultTimes.killTimeoutMs), 'How long a worker may take to end after SIGTERM before SIGKILL', { value: 'TIME' }),
  linger: option(duration(0), seconds(defaultTimes.lingerMs), 'How long a program without a SIGTERM listener may finish what it is at, its connections gone', {
    value: 'TIME',
  }),
  maxDraining: option(whole(1, 1000), 10, 'Generations that may drain at once; the oldest above it is cut', { value: 'N' }),
  backoffMin: option(duration(1), '100ms', 'Shortest delay before a restart, from the second crash on', { value: 'TIME' }),
  backoffMax: option(duration(1), '30s', 'Longest delay before a restart', { value: 'TIME' }),
  restartLimit: option(whole(1, 1000), 5, 'Crashes of a worker, no quiet --restart-window between them, that make a crash loop', { value: 'N' }),
  restartWindow: option(duration(1), '1m', 'How long nothing may crash until earlier crashes are forgotten', { value: 'TIME' }),
  giveUpAfter: option(duration(0), undefined, 'How long a crash loop may last until the master ends (default: for ever)', { value: 'TIME' }),
  restart: choice(['always', 'on-failure', 'never'], 'always', 'Which workers are started again when they end by themselves'),
  overlap: option(toggle(), true, 'New workers start beside the old ones; --no-overlap: only when these have ended', { kind: 'toggle' }),
  heartbeatTimeout: option(duration(0), '1m', 'How long the event loop of a worker may stand still until it is replaced; 0: for ever', { value: 'TIME' }),
  blockedStack: option(toggle(), false, 'Log where a blocked worker hangs: a thread in each worker can tell, which takes 10 to 20 MB', { kind: 'toggle' }),
  maxMemory: option(size(), undefined, 'Resident memory above which a worker is replaced, such as 500M', { value: 'SIZE' }),
  maxAge: option(duration(1000), undefined, 'How long a worker serves until it is replaced, less up to a tenth', { value: 'TIME' }),
  health: option(
    list(form('a path such as /healthz, or :PORT/PATH', toHealthRequest)),
    [],
    'Page that is asked for while a worker serves; may be given several times',
    { kind: 'list', value: '[:PORT]/PATH' },
  ),
  healthInterval: option(duration(100), '10s', 'How often it is asked for', { value: 'TIME' }),
  healthTimeout: option(duration(1), '5s', 'How long each such answer may take', { value: 'TIME' }),
  healthFailures: option(whole(1, 1000), 3, 'Failed health checks in a row that get a worker replaced', { value: 'N' }),
  cwd: option(text(), undefined, 'Working directory of the program (default: the current one)', { kind: 'path', value: 'FOLDER' }),
  // not --env-file: Node takes that for its own wherever it stands (20 to 26), and ends with 9 before anything runs if the file is missing
  environmentFile: option(list(text()), [], 'File of KEY=value lines for the program', { kind: 'path-list', value: 'FILE' }),
  node: option(text(), undefined, 'Node binary for the program (default: the one that runs this)', { kind: 'command', value: 'FILE' }),
  nodeArg: option(list(text()), [], 'Option for Node itself, such as --enable-source-maps', { kind: 'list', value: 'ARG' }),
  pidFile: option(text(), undefined, "File for the master's pid, written when ready", { kind: 'path', value: 'FILE' }),
  runtimeDir: option(text(), undefined, 'Folder of the control sockets', { kind: 'path', value: 'FOLDER' }),
  logLevel: choice(['error', 'warn', 'info', 'debug'], 'info', 'Least important line that is logged'),
  logFormat: choice(['auto', 'text', 'json'], 'auto', 'text or json; auto: text on a terminal and in the journal'),
  logFile: option(text(), undefined, 'Log there instead of stderr; reopened on SIGUSR1', { kind: 'path', value: 'FILE' }),
};

/** One of a few words, each of which the help names. */
function choice(words: readonly string[], preset: string, help: string): Option {
  return option(oneOf(words), preset, help, { value: words.join('|') });
}

function option(form: Form<unknown>, preset: unknown, help: string, { kind = 'value', value }: Partial<Pick<Option, 'kind' | 'value'>> = {}): Option {
  return { form, preset, help, kind, value };
}

function seconds(ms: number): string {
  return `${ms / 1000}s`;
}
