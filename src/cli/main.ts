/** Runs a command and ends the process. */
import { describeError, exitCodeOf } from '../errors.ts';
import { isJournal, withPriority } from '../master/log/journal.ts';
import { releaseSignals } from '../master/signals.ts';
import { printable } from '../printable.ts';
import type { Chosen } from './command-line.ts';
import { readPlainStart } from './plain-start.ts';
import { version } from './version.ts';

/** Runs a command and ends the process with its exit code; errors go to stderr, with what to do about them. */
export async function main(args: readonly string[]): Promise<void> {
  try {
    const chosen = await choose(args);
    process.exitCode = chosen === undefined ? 0 : await chosen.run(chosen.argv);
  } catch (error) {
    const text = printable(`graceful-super: ${describeError(error)}`);
    releaseSignals(); // in the background, `stty tostop` has the kernel repeat a write for ever where SIGTTOU is listened to
    process.stderr.write(`${isJournal(process.env, 2) ? withPriority('error', text) : text}\n`);
    process.exitCode = exitCodeOf(error);
  }
  process.exit();
}

async function choose(args: readonly string[]): Promise<Chosen | undefined> {
  const argv = readPlainStart(args);
  if (argv !== undefined) return { argv, run: await loadStart() };
  const { readCommandLine } = await import('./command-line.ts');
  return readCommandLine(args, { loadStart, releaseSignals });
}

async function loadStart(): Promise<Chosen['run']> {
  const { start } = await import('./start.ts');
  return (argv) => start(argv, version);
}
