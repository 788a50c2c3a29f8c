/** What the master's exit code says of a first start that failed. */
import type { Failure } from '../core/event.ts';
import { exitCodes } from '../errors.ts';

/** A port that is taken or forbidden, and a release that can't be resolved, have codes of their own. */
export function failureExitCode(failure: Failure): number {
  const error = 'error' in failure && typeof failure.error === 'object' ? failure.error : undefined;
  if (failure.reason === 'release-rejected') return exitCodes[error?.code as keyof typeof exitCodes] ?? exitCodes['start-failed'];
  if (error?.syscall !== 'listen') return exitCodes['start-failed'];
  if (error.code === 'EADDRINUSE') return exitCodes['address-in-use'];
  if (error.code === 'EACCES') return exitCodes['address-denied'];
  if (error.code === 'EADDRNOTAVAIL') return exitCodes['address-unavailable'];
  return exitCodes['start-failed'];
}
