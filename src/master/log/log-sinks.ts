/**
 * Where the lines of the log go. A sink never fails and never grows: while the disk is full, or nobody reads, lines are lost and counted, and the
 * first one after that says how many.
 */
import { appendFile, close, constants, openSync } from 'node:fs';
import { Writable } from 'node:stream';
import { GracefulError } from '../../errors.ts';
import { checkFile } from '../../trust.ts';

/** The line that says how many are missing, and why. */
export type TellGap = (lost: number, why: string) => string;

const { O_APPEND, O_CREAT, O_WRONLY, O_NOFOLLOW } = constants;

/** Longest backlog of a stream, in bytes: whoever reads it may have stalled. */
const MOST_BACKLOG = 1024 * 1024;

/** @throws GracefulError `log-file-unwritable` */
export function openLogFile(path: string, tellGap: TellGap): Writable {
  const fd = openOrThrow(path);
  return new Sink({
    // what was lost may have been lost in the middle of a line
    tellGap: (lost) => `\n${tellGap(lost, 'the log file could not be written')}`,
    put: (text, tell) => appendFile(fd, text, (error) => tell(error === null)),
    close: (closed) => close(fd, closed),
  });
}

/** A stream that belongs to somebody else, such as `process.stderr`: it is not ended. */
export function openStream(stream: Writable, tellGap: TellGap, mostBacklog: number = MOST_BACKLOG): Writable {
  stream.on('error', () => {}); // EPIPE, EIO: whoever read the log is gone; the services go on
  return new Sink({
    tellGap: (lost) => tellGap(lost, 'nobody read the log'),
    put(text, tell) {
      const hasRoom = stream.writableLength < mostBacklog;
      if (hasRoom) stream.write(text);
      tell(hasRoom);
    },
    close: (closed) => closed(),
  });
}

interface Place {
  tellGap(lost: number): string;
  put(text: string, tell: (isWritten: boolean) => void): void;
  close(closed: () => void): void;
}

class Sink extends Writable {
  readonly #place: Place;
  #lost = 0;

  constructor(place: Place) {
    super({ decodeStrings: false });
    this.#place = place;
  }

  override _write(line: string, _encoding: BufferEncoding, callback: () => void): void {
    this.#place.put(this.#lost === 0 ? line : `${this.#place.tellGap(this.#lost)}\n${line}`, (isWritten) => {
      this.#lost = isWritten ? 0 : this.#lost + 1;
      callback();
    });
  }

  override _final(callback: () => void): void {
    this.#place.close(callback);
  }
}

function openOrThrow(path: string): number {
  try {
    const isLink = checkFile(path)?.isSymbolicLink() === true; // one that is trusted, such as /dev/stdout
    return openSync(path, O_APPEND | O_CREAT | O_WRONLY | (isLink ? 0 : O_NOFOLLOW), 0o640);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new GracefulError('log-file-unwritable', `cannot write log file ${path}: ${reason}`, { hint: 'pass another --log-file', cause });
  }
}
