/** The command line as yargs knows it: which commands, which options; what they mean is decided elsewhere. */
import yargs, { type Argv } from 'yargs';
import { flagName } from '../config/config.ts';
import { type Option, options } from '../config/options.ts';
import { GracefulError } from '../errors.ts';
import { version } from './version.ts';

/** Commands that take the name of a master. */
const asking = ['reload', 'promote', 'rollback', 'scale', 'status', 'stop'];

type Command = (argv: Readonly<Record<string, unknown>>) => Promise<number>;

/** What belongs to the entry: this module is bundled apart from it, and would have copies. */
export interface EntryParts {
  loadStart(): Promise<Command>;
  /** Signals have their default effects from now on. */
  releaseSignals(): void;
}

/** A command and what was given to it. */
export interface Chosen {
  readonly run: Command;
  readonly argv: Readonly<Record<string, unknown>>;
}

/** The command that is meant; undefined: help or version was asked for, and given. @throws GracefulError `usage` */
export async function readCommandLine(args: readonly string[], parts: EntryParts): Promise<Chosen | undefined> {
  let run: Command | undefined;
  const choose: Choose = (load) => async () => {
    run = await load();
  };
  const argv = await describeCommands(args, choose, parts).parse();
  refuseDoubles(argv);
  return run && { run, argv };
}

type Choose = (load: () => Promise<Command>) => () => Promise<void>;
type Describe = (parser: Argv) => Argv;

function describeCommands(args: readonly string[], choose: Choose, { loadStart, releaseSignals }: EntryParts): Argv {
  const interruptible = (describe: Describe) => (parser: Argv) => {
    releaseSignals(); // a command that only asks may be interrupted
    return describe(parser);
  };
  const parser = yargs([...args], '/')
    .scriptName('graceful-super')
    .usage('$0 <command>\n\nRuns a program and swaps its code without losing a connection.')
    .command('start [script]', 'Start a program; SIGHUP or "reload" swaps its code', (y) => startOptions(y, 'start'), choose(loadStart));
  return describeRules(describeOthers(describeAsking(parser, choose, interruptible), choose, interruptible), args);
}

function describeOthers(parser: Argv, choose: Choose, interruptible: (describe: Describe) => Describe): Argv {
  return parser
    .command(
      'status [master]',
      'Show what is running',
      interruptible((y) => targetOptions(y).option('json', { type: 'boolean', describe: 'For programs' })),
      choose(async () => (await import('./status.ts')).status),
    )
    .command(
      'stop [master]',
      'Drain and stop',
      interruptible(targetOptions),
      choose(async () => (await import('./stop.ts')).stop),
    )
    .command(
      'unit [script]',
      'Print systemd units for a program; flags as for "start"',
      interruptible((y) => unitOptions(startOptions(y, 'unit'))),
      choose(async () => (await import('./unit/unit.ts')).unit),
    );
}

function describeRules(parser: Argv, args: readonly string[]): Argv {
  return parser
    .parserConfiguration({
      'populate--': true,
      'duplicate-arguments-array': true,
      'boolean-negation': true,
      'parse-numbers': false,
      'parse-positional-numbers': false,
      'nargs-eats-options': true, // --node-arg --enable-source-maps
    })
    .demandCommand(1, 1, 'no command', 'one command at a time')
    .strictCommands()
    .strict()
    .version(version)
    .help()
    .alias('help', 'h')
    .exitProcess(false)
    .wrap(100)
    .fail((message, error) => {
      if (error !== undefined && error.name !== 'YError') throw error;
      throw mistake(message ?? error.message, args);
    });
}

/** Commands that ask a running master for something. */
function describeAsking(parser: Argv, choose: Choose, interruptible: (describe: Describe) => Describe): Argv {
  const run = (command: 'reload' | 'promote' | 'rollback' | 'scale') => choose(async () => (await import('./ask.ts'))[command]);
  return parser
    .command(
      'reload [master]',
      'Swap the code; fails if the new code did not start',
      interruptible((y) =>
        targetOptions(y)
          .option('canary', { type: 'string', requiresArg: true, describe: 'N: Only so many new workers at first, beside the old ones' })
          .option('hold', { type: 'string', requiresArg: true, describe: 'TIME: How long until the rest follows (default: until "promote" or "rollback")' })
          .option('allow-address-change', { type: 'boolean', describe: 'The new code may leave an address of the old code without anybody' }),
      ),
      run('reload'),
    )
    .command('promote [master]', 'Let the rest of a canary follow', interruptible(targetOptions), run('promote'))
    .command(
      'rollback [master]',
      'End the reload under way, or bring back the code before the last one',
      interruptible((y) =>
        targetOptions(y).option('force', { type: 'boolean', describe: 'Also when the last reload came to nothing: back behind the code that serves' }),
      ),
      run('rollback'),
    )
    .command(
      'scale <workers> [master]',
      'Change the number of workers: 4, +1 or -1',
      interruptible((y) => targetOptions(y).positional('workers', { type: 'string', describe: 'How many, or how many more (+) or less (-)' })),
      run('scale'),
    );
}

/** yargs takes a second script, or a second master, for a command. */
function mistake(message: string, args: readonly string[]): GracefulError {
  const [, surplus] = /^Unknown commands?: ([^,]+)/.exec(message) ?? [];
  const command = ['start', 'unit', ...asking].find((name) => args.includes(name));
  if (surplus === undefined || command === undefined) return new GracefulError('usage', message, { hint: 'graceful-super --help' });
  return asking.includes(command)
    ? new GracefulError('usage', `one master at a time: what is "${surplus}"?`, { hint: `graceful-super ${command} --help` })
    : new GracefulError('usage', `one script at a time: what is "${surplus}"?`, { hint: 'arguments of the program come after "--"' });
}

/** What may stand once stands once: the last of two would win silently, or the first. */
function refuseDoubles(argv: Readonly<Record<string, unknown>>): void {
  const lists = ['_', '--', ...Object.keys(options).filter((name) => options[name]?.kind.endsWith('list'))].map((name) => flagName(name));
  const twice = Object.keys(argv).find((key) => Array.isArray(argv[key]) && !lists.includes(flagName(key)));
  if (twice !== undefined) throw new GracefulError('usage', `${flagName(twice)} is given more than once`, { hint: 'graceful-super --help' });
}

function startOptions(parser: Argv, command: string): Argv {
  const positional = parser
    .usage(`graceful-super ${command} [script] [options] [-- arguments of the program]`)
    .positional('script', { type: 'string', describe: 'Program to run; what follows "--" are its arguments' })
    .option('config', { type: 'string', requiresArg: true, describe: 'JSON, JS or MJS file with options, script, args and env' })
    .epilogue(
      'TIME is a number with a unit: 500ms, 30s, 5m, 1h30m. Every option can also stand in the environment,\nas GRACEFUL_SUPER_DRAIN_TIMEOUT for --drain-timeout, and in the file, as drainTimeout.',
    );
  return Object.entries(options).reduce((all, [name, option]) => all.option(flagName(name).slice(2), toYargs(option)), positional);
}

function unitOptions(parser: Argv): Argv {
  return parser
    .option('install', { type: 'boolean', describe: 'Write them where systemd looks, instead of printing them' })
    .option('force', { type: 'boolean', describe: 'Replace another unit of that name' })
    .option('socket', { type: 'boolean', describe: 'A .socket unit as well, for the addresses of --listen' })
    .option('user-unit', { type: 'boolean', describe: "For the systemd of this user, not for the machine's" })
    .option('run-as', {
      type: 'string',
      requiresArg: true,
      describe: 'USER|dynamic: User of the program (default: the one that called sudo, or the current one)',
    })
    .option('systemd-version', { type: 'string', requiresArg: true, describe: 'N: Version that they are for (default: the installed one)' });
}

function toYargs({ kind, help, preset, value }: Option) {
  const shown = preset === undefined || (Array.isArray(preset) && preset.length === 0) || preset === false ? help : `${help} [${String(preset)}]`;
  const describe = value === undefined ? shown : `${value}: ${shown}`;
  if (kind === 'toggle') return { type: 'boolean', describe } as const;
  return kind === 'list' || kind === 'path-list'
    ? ({ type: 'string', nargs: 1, describe } as const)
    : ({ type: 'string', requiresArg: true, describe } as const);
}

function targetOptions(parser: Argv): Argv {
  return parser
    .positional('master', { type: 'string', describe: 'Name of the master; may be left out where only one is running' })
    .option('name', { type: 'string', requiresArg: true, describe: 'The same' })
    .option('runtime-dir', { type: 'string', requiresArg: true, describe: 'FOLDER: Folder of the control sockets' });
}
