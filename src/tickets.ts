/**
 * Who owns a connection that is on its way to another worker? Whoever takes its ticket. The tickets of a worker are numbers
 * in a file without a name; master and worker share one open file description, so each number is read out once: by the
 * worker that adopts, or by the master that gives the connection to somebody else. That holds however long either of them
 * is stopped in between. (read(2) moves the shared offset atomically since Linux 3.14; macOS locks it as well.)
 */
import { closeSync, fstatSync, ftruncateSync, openSync, readSync, unlinkSync, writeSync } from 'node:fs';

const TICKET_BYTES = 4;
const LAST_TICKET = 2 ** 32 - 1;

/** The master's side. */
export interface Tickets {
  /** To be inherited by the worker. */
  readonly fd: number;
  /** @param ticket 1 to 2^32 - 1 @throws a system error, such as ENOSPC; then nothing was issued */
  issue(ticket: number): void;
  /** Takes back all tickets that the worker has not taken. Never throws. */
  recall(): Set<number>;
  /** Once. Never throws. */
  close(): void;
}

/** Makes the tickets of one worker. `path` is free, and is free again afterwards. @throws a system error */
export function makeTickets(path: string): Tickets {
  const fd = openSync(path, 'wx+', 0o600);
  unlinkSync(path);
  const bytes = Buffer.alloc(TICKET_BYTES);
  let end = 0;
  return {
    fd,
    issue(ticket) {
      bytes.writeUInt32LE(ticket);
      const written = writeSync(fd, bytes, 0, TICKET_BYTES, end); // by position: the offset is for reading
      if (written < TICKET_BYTES) ftruncateSync(fd, end); // a part of one would shift all that follow
      if (written < TICKET_BYTES) throw new Error('EFBIG: file too large, write'); // RLIMIT_FSIZE cuts wherever it stands
      end += TICKET_BYTES;
    },
    recall() {
      const tickets = new Set<number>();
      for (let ticket = readTicket(fd); ticket !== undefined; ticket = readTicket(fd)) tickets.add(ticket);
      return tickets;
    },
    close() {
      try {
        closeSync(fd);
      } catch {
        // EIO, ENOSPC: what was written may be lost, but the descriptor is closed
      }
    },
  };
}

/**
 * The worker's side. Tickets come in the order in which their connections were sent. So what lies before the one that is looked for is of a connection that did not arrive: it
 * is this worker's no more, and `giveBack` is told. What lies behind it is of one that is still to come, and is kept.
 * Which file `fd` is now is remembered: a program may close what it does not know, and get the same number for a file of its own.
 * @returns takes a ticket: true if it was still there. It throws an error that says why nothing could be read.
 */
export function ticketTaker(fd: number, giveBack: (tickets: readonly number[]) => void): (ticket: number) => boolean {
  const file = identify(fd);
  let ahead: number | undefined;
  return (ticket) => {
    if (file === undefined || identify(fd) !== file) throw new Error(`its program has closed descriptor ${fd}, by which it is known whose a connection is`);
    const skipped: number[] = [];
    let next = ahead ?? readTicket(fd);
    for (; next !== undefined && isBefore(next, ticket); next = readTicket(fd)) skipped.push(next);
    ahead = next === ticket ? undefined : next;
    if (skipped.length > 0) giveBack(skipped);
    return next === ticket;
  };
}

/** undefined: nothing is open there. `bigint` leaves no trace in what `realpathSync` reads: see identity.ts. */
function identify(fd: number): string | undefined {
  try {
    const { dev, ino } = fstatSync(fd, { bigint: true });
    return `${dev}:${ino}`;
  } catch {
    return undefined; // EBADF
  }
}

/** The ticket after this one. */
export function nextTicket(ticket: number): number {
  return ticket === LAST_TICKET ? 1 : ticket + 1;
}

/** After the last ticket comes the first one again. */
function isBefore(ticket: number, other: number): boolean {
  const distance = other - ticket;
  return distance > 0 ? distance <= LAST_TICKET / 2 : distance < -LAST_TICKET / 2;
}

/** What can't be read is nobody's: whoever looks for it finds that it is not there. */
function readTicket(fd: number): number | undefined {
  const bytes = Buffer.alloc(TICKET_BYTES);
  try {
    return readSync(fd, bytes, 0, TICKET_BYTES, null) === TICKET_BYTES ? bytes.readUInt32LE() : undefined;
  } catch {
    return undefined; // EIO
  }
}
