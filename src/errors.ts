/** Every error that a user can meet, its exit code, and the one class that carries it. */

/** Stable code → exit code of the process. Also the table in docs/cli.md. */
export const exitCodes = {
  internal: 1,
  usage: 2,
  'config-invalid': 3,
  'config-unreadable': 4,
  'script-not-found': 10,
  'script-unreadable': 11,
  'script-is-directory': 12,
  'cwd-invalid': 13,
  'env-file-unreadable': 14,
  'node-unusable': 15,
  'log-file-unwritable': 16,
  'pid-file-unwritable': 17,
  'unit-exists': 18,
  'unit-unwritable': 19,
  'address-in-use': 20,
  'address-denied': 21,
  'address-unavailable': 22,
  'not-a-socket': 23,
  'already-running': 30,
  'not-running': 31,
  'several-running': 32,
  'control-folder-unwritable': 33,
  'control-failed': 34,
  'start-failed': 40,
  'reload-failed': 41,
  /** --give-up-after: a crash loop lasted too long. */
  'crash-loop': 42,
  /** What was asked for makes no sense at the moment: nothing to promote, nothing to go back to. */
  refused: 43,
  'scale-failed': 44,
  /** The files of the release to go back to were removed. */
  'release-gone': 45,
  /** A second SIGTERM or SIGINT stopped the master at once. */
  forced: 130,
} as const;

/** What is known of an error in another process. */
export interface ErrorReport {
  readonly name: string;
  readonly message: string;
  readonly stack?: string;
  readonly code?: string;
  readonly syscall?: string;
}

export type ErrorCode = keyof typeof exitCodes;

/** Wrong usage or configuration, a socket that can't be had, a master that is there or isn't: what a user can mend. */
export class GracefulError extends Error {
  override readonly name = 'GracefulError';
  readonly code: ErrorCode;
  /** What to do about it, if there is something to say. */
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, { hint, cause }: { hint?: string | undefined; cause?: unknown } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.hint = hint;
  }
}

/** By its name: the parts of the command that are bundled apart have a copy of the class each. */
export function isGracefulError(error: unknown): error is GracefulError {
  return error instanceof Error && error.name === 'GracefulError';
}

/** The exit code for whatever was thrown. */
export function exitCodeOf(error: unknown): number {
  return isGracefulError(error) ? exitCodes[error.code] : exitCodes.internal;
}

/** Message and hint, as they are printed; an unexpected error comes with its stack. */
export function describeError(error: unknown): string {
  if (isGracefulError(error)) return error.hint === undefined ? error.message : `${error.message}\nhint: ${error.hint}`;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** The `code` of a system error, such as `ENOENT`; undefined for anything else. */
export function systemCode(error: unknown): string | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : undefined;
}

/** An error in a form that crosses processes. */
export function toReport(error: unknown): ErrorReport {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error) };
  const { code, syscall } = error as NodeJS.ErrnoException;
  return {
    name: error.name,
    message: isGracefulError(error) && error.hint !== undefined ? `${error.message} (${error.hint})` : error.message,
    ...(error.stack === undefined || isGracefulError(error) ? {} : { stack: error.stack }),
    ...(typeof code === 'string' ? { code } : {}),
    ...(typeof syscall === 'string' ? { syscall } : {}),
  };
}
