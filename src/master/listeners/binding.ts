/** Binding an address, and in words why it can't be had. */
import { chmodSync, existsSync, lstatSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname } from 'node:path';
import { getSystemErrorName } from 'node:util';
import type { ListenSpec } from '../../config/config.ts';
import { GracefulError } from '../../errors.ts';
import type { Kernel } from '../../kernel.ts';
import type { DatagramHandle } from '../../node/datagram.ts';
import { type ListenHandle, listenIdle } from '../../node/handle.ts';
import { rememberFile, removeIfOurs } from '../../owned-file.ts';
import { isAnswered } from '../../unix-socket.ts';
import type { Address } from './addresses.ts';

/** Until somebody listens who wants another. */
const BACKLOG = 511;
const EADDRINUSE = -constants.errno.EADDRINUSE;

/** A socket that was bound. */
interface Binding {
  readonly address: Address;
  readonly handle: ListenHandle | DatagramHandle;
}

/** The last thing that was tried. */
interface BindFailure {
  readonly errno: number;
  readonly address: string;
  readonly addressType: number;
}

/** What binding takes. */
export type Binder = Pick<Kernel, 'bind' | 'bindDatagram'>;

/** Puts the first candidate that can be had into LISTEN: what is merely bound can be stolen. A datagram socket is just bound. `mode`: of a Unix socket; null: what the umask leaves. */
export async function bindFirst(kernel: Binder, candidates: readonly Address[], mode: number | null): Promise<Binding | BindFailure> {
  let failed: BindFailure | undefined;
  for (const candidate of candidates) {
    const handle = candidate.addressType === -1 ? await bindPath(kernel.bind, candidate.address, mode) : bindAddress(kernel, candidate);
    if (typeof handle !== 'number') return { address: candidate, handle };
    failed = { errno: handle, address: candidate.address, addressType: candidate.addressType };
    if (handle === EADDRINUSE) break; // Node would not try the other family either
  }
  return failed as BindFailure;
}

/** What an operator is told. */
export function cannotListen(spec: ListenSpec, errno: number): GracefulError {
  const where = spec.kind === 'unix' ? spec.path : `${spec.kind === 'udp' ? 'udp:' : ''}${spec.host ?? '*'}:${spec.port}`;
  const name = getSystemErrorName(errno);
  if (spec.kind === 'unix' && errno === EADDRINUSE && !lstatSync(spec.path, { bigint: true, throwIfNoEntry: false })?.isSocket()) {
    return new GracefulError('not-a-socket', `cannot listen on ${where}: the file is there and is no socket`, { hint: 'remove it, or pass another path' });
  }
  if (name === 'EADDRINUSE') {
    const hint =
      spec.kind === 'unix' ? 'another process listens on it' : `another process holds it (ss -l${spec.kind === 'udp' ? 'u' : 't'}np 'sport = :${spec.port}')`;
    return new GracefulError('address-in-use', `cannot listen on ${where}: address already in use`, { hint });
  }
  if (name === 'EACCES' || name === 'EPERM' || name === 'EROFS') {
    // libuv says EACCES for ENOENT
    const reason =
      spec.kind === 'unix' && !existsSync(dirname(spec.path)) ? 'no such folder' : name === 'EROFS' ? 'read-only file system' : 'permission denied';
    const hint = spec.kind === 'unix' ? 'the folder must be there, and writable' : 'ports below 1024 need CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities=)';
    return new GracefulError('address-denied', `cannot listen on ${where}: ${reason}`, { hint });
  }
  return new GracefulError('address-unavailable', `cannot listen on ${where}: ${name}`, { hint: 'the address must be one of this machine (ip address)' });
}

/** Binds a Unix socket; one that a dead process left is replaced, a living one and what is no socket are not. */
async function bindPath(bind: Kernel['bind'], path: string, mode: number | null): Promise<ListenHandle | number> {
  const handle = bindFile(bind, path, mode);
  if (handle !== EADDRINUSE || path.startsWith('\0')) return handle;
  if (!lstatSync(path, { bigint: true, throwIfNoEntry: false })?.isSocket()) return handle;
  const stale = rememberFile(path);
  if (await isAnswered(path)) return handle;
  removeIfOurs(stale);
  return bindFile(bind, path, mode);
}

/** Nobody can connect before it has its rights. */
function bindFile(bind: Kernel['bind'], path: string, mode: number | null): ListenHandle | number {
  const handle = bind(path, -1, -1, 0);
  if (typeof handle !== 'number' && mode !== null && !path.startsWith('\0')) chmodSync(path, mode);
  return listening(handle);
}

function bindAddress({ bind, bindDatagram }: Binder, { isDatagram, address, port, addressType, flags }: Address): ListenHandle | DatagramHandle | number {
  return isDatagram ? bindDatagram(address, port, addressType, flags) : listening(bind(address, port, addressType, flags));
}

/** Of two that are bound to overlapping addresses it may be this that tells. */
function listening(handle: ListenHandle | number): ListenHandle | number {
  if (typeof handle === 'number') return handle;
  const errno = listenIdle(handle, BACKLOG);
  if (errno === 0) return handle;
  handle.close();
  return errno;
}
