/** Who this process is: read from a descriptor, before anything else. */
import { closeSync, fstatSync, readSync } from 'node:fs';
import { systemCode } from '../errors.ts';
import { sendHidden } from '../node/channel.ts';
import { type FromWorker, INDEX_VARIABLE, WORKER_PROTOCOL, WORKER_VARIABLE, type WorkerIdentity } from '../protocol/worker.ts';

const CHUNK_BYTES = 64 * 1024;

/**
 * Waits until the master tells it. Where the end comes instead, the master has no use for this process, or is no more, and it ends.
 * @returns undefined: it is no worker
 */
export function takeIdentity(): WorkerIdentity | undefined {
  const named = process.env[WORKER_VARIABLE];
  const fd = Number(named);
  if (named === undefined || !process.channel || !isSocket(fd)) return undefined;
  const text = readAll(fd);
  closeSync(fd);
  hideTraces();
  if (!text.endsWith('\n')) return process.exit();
  const identity = JSON.parse(text) as WorkerIdentity;
  if (identity.protocol !== WORKER_PROTOCOL) return refuse(identity.protocol);
  process.env[INDEX_VARIABLE] = String(identity.index);
  return identity;
}

/** What a master of any version understands. */
function refuse(protocol: number): never {
  const message = `graceful-super was replaced under its running master, which speaks protocol ${protocol} with workers, and this runtime ${WORKER_PROTOCOL}: start the master anew`;
  sendHidden(process, { type: 'failed', error: { name: 'Error', message } } satisfies FromWorker);
  return process.exit(1);
}

/**
 * A process that is forked by what NODE_OPTIONS load has variable and channel, too, but its descriptor is something else. `bigint`, as in every synchronous
 * stat of a worker: Node keeps the others in an array that `realpathSync` reads, too, and after a socket it follows no symlink (nodejs/node#51142).
 */
function isSocket(fd: number): boolean {
  try {
    return fstatSync(fd, { bigint: true }).isSocket();
  } catch {
    return false; // EBADF; not a number
  }
}

function readAll(fd: number): string {
  const chunk = Buffer.alloc(CHUNK_BYTES);
  const parts: Buffer[] = [];
  for (let count = readSome(fd, chunk); count !== 0; count = readSome(fd, chunk)) parts.push(Buffer.from(chunk.subarray(0, count)));
  return Buffer.concat(parts).toString();
}

/** A signal that Node handles itself, such as SIGUSR1, ends the call with EINTR. */
function readSome(fd: number, into: Buffer): number {
  for (;;) {
    try {
      return readSync(fd, into);
    } catch (error) {
      if (systemCode(error) !== 'EINTR') throw error;
    }
  }
}

/** Neither the program nor its children are to find what only concerns us. */
function hideTraces(): void {
  delete process.env[WORKER_VARIABLE];
  hideOption();
}

/** A thread has the options that its process was started with. */
export function hideOption(): void {
  const at = process.execArgv.indexOf('--require'); // ours is the first
  if (at >= 0) process.execArgv.splice(at, 2);
}
