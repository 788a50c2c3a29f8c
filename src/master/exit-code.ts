/** What the master's exit code says of its end. */
import { constants } from 'node:os';
import type { Effect } from '../core/effect.ts';
import type { Exit, Failure } from '../core/event.ts';
import { exitCodes } from '../errors.ts';

/** 0 after a stop; a worker that was not to be started again gives its own. */
export function exitCodeFor({ failure, forced, completed }: Effect & { type: 'exit' }): number {
  if (forced) return exitCodes.forced;
  if (failure !== null) return failureExitCode(failure);
  return completed === null ? 0 : codeOf(completed);
}

/** As a shell has it: 128 and the number of the signal. */
function codeOf(exit: Exit): number {
  if (exit.reason === 'exit') return exit.code;
  return exit.reason === 'signal' ? 128 + (constants.signals[exit.signal as NodeJS.Signals] ?? 0) : exitCodes['start-failed'];
}

/** A port that is taken or forbidden, and a release that can't be resolved, have codes of their own. */
function failureExitCode(failure: Failure): number {
  if (failure.reason === 'crash-loop') return exitCodes['crash-loop'];
  const error = 'error' in failure && typeof failure.error === 'object' ? failure.error : undefined;
  if (failure.reason === 'release-rejected') return exitCodes[error?.code as keyof typeof exitCodes] ?? exitCodes['start-failed'];
  if (error?.syscall !== 'listen') return exitCodes['start-failed'];
  if (error.code === 'EADDRINUSE') return exitCodes['address-in-use'];
  if (error.code === 'EACCES') return exitCodes['address-denied'];
  if (error.code === 'EADDRNOTAVAIL') return exitCodes['address-unavailable'];
  return exitCodes['start-failed'];
}
