/**
 * Sockets that the master was started with: those of `.socket` units, and what an earlier master left in the descriptor
 * store. LISTEN_FDS of them, from descriptor 3 up, if LISTEN_PID is this very process. @see sd_listen_fds(3)
 */
import { fstatSync, lstatSync, readFileSync } from 'node:fs';
import { getSystemErrorName } from 'node:util';
import { type DatagramHandle, openDatagramHandle } from '../../node/datagram.ts';
import { hasPeer, type ListenHandle, nameOf, openHandle, type SocketHandle } from '../../node/handle.ts';
import type { Address } from './addresses.ts';
import { parseStoredName } from './descriptor-store.ts';

const FIRST_FD = 3;
const LISTENING = 0x10000; // __SO_ACCEPTCON, in /proc/net/unix
const CONNECTED = 3; // SS_CONNECTED
/** Name of the descriptor of `OpenFile=` that messages to systemd are written to. */
const NOTIFY_NAME = 'notify';

/** A socket that nobody needs to bind. */
export interface InheritedSocket {
  readonly handle: ListenHandle | DatagramHandle;
  readonly address: Address;
  /** What a `.socket` unit calls it. */
  readonly name: string | null;
  /** It comes from the descriptor store: an earlier master bound it. */
  readonly isStored: boolean;
}

/** What became of the descriptors. */
export interface Inheritance {
  readonly sockets: readonly InheritedSocket[];
  /** Stored Unix sockets whose path is gone: nobody can reach them. */
  readonly lost: readonly Address[];
  /** One for each descriptor that is of no use. */
  readonly complaints: readonly string[];
}

/** Takes over what was inherited. Never throws. */
export function inherit(env: Readonly<NodeJS.ProcessEnv>): Inheritance {
  const count = Number(env['LISTEN_FDS'] ?? 0);
  if (!Number.isInteger(count) || count < 1) return { sockets: [], lost: [], complaints: [] };
  if (env['LISTEN_PID'] !== String(process.pid)) {
    const complaint = `LISTEN_FDS is ignored: it is meant for process ${env['LISTEN_PID']}, and this is ${process.pid}; nothing may stand between systemd and the master`;
    return { sockets: [], lost: [], complaints: [complaint] };
  }
  const names = env['LISTEN_FDNAMES']?.split(':') ?? [];
  const sockets: InheritedSocket[] = [];
  const lost: Address[] = [];
  const complaints: string[] = [];
  for (let fd = FIRST_FD; fd < FIRST_FD + count; fd++) {
    const name = names[fd - FIRST_FD] || null;
    const socket = name === NOTIFY_NAME ? undefined : openSocket(fd, name);
    if (typeof socket === 'string') complaints.push(`descriptor ${fd}${name === null ? '' : ` ("${name}")`} is ignored: ${socket}`);
    else if (socket?.isStored && isPathGone(socket.address)) lost.push(socket.address);
    else if (socket) sockets.push(socket);
  }
  return { sockets, lost, complaints };
}

/** The socket, or in words what it is instead. */
function openSocket(fd: number, name: string | null): InheritedSocket | string {
  try {
    if (!fstatSync(fd, { bigint: true }).isSocket()) return 'it is no socket';
    const stream = openHandle(fd);
    const handle = typeof stream === 'number' ? openDatagramHandle(fd) : stream;
    if (typeof handle === 'number')
      return `it is neither a stream nor a UDP socket (${getSystemErrorName(handle)}); ListenStream= and ListenDatagram= make one`;
    if (hasPeer(handle)) return connection;
    const address = typeof stream === 'number' ? ipOf(handle, true) : addressOf(stream, fd);
    if (typeof address === 'string') return address;
    const stored = parseStoredName(name);
    return stored === undefined ? { handle, address, name, isStored: false } : { handle, address: stored, name: null, isStored: true };
  } catch (error) {
    return error instanceof Error ? error.message : String(error); // EBADF: LISTEN_FDS says more than there are
  }
}

const connection = 'it is a connection, not a listening socket; Accept=no makes one';

function addressOf(handle: ListenHandle, fd: number): Address | string {
  return nameOf(handle).address === undefined ? pathOf(fd) : ipOf(handle, false);
}

function ipOf(handle: SocketHandle, isDatagram: boolean): Address | string {
  const { address = '', port = 0, family } = nameOf(handle);
  return port === 0 ? 'it is bound to no address' : { isDatagram, address, port, addressType: family === 'IPv6' ? 6 : 4, flags: 0, index: 0 };
}

/** Node can't say what a Unix socket is bound to; the kernel can. @see proc_net_unix(5) */
function pathOf(fd: number): Address | string {
  const { ino } = fstatSync(fd, { bigint: true });
  for (const line of readFileSync('/proc/self/net/unix', 'utf8').split('\n')) {
    const [, flags = '', state = '', inode, path] = /^\S+ \S+ \S+ (\S+) \S+ (\S+) +(\d+)(?: (.*))?$/.exec(line) ?? [];
    if (inode !== String(ino)) continue;
    if (Number.parseInt(state, 16) === CONNECTED && (Number.parseInt(flags, 16) & LISTENING) === 0) return connection;
    if (path === undefined) return 'it is bound to no path';
    // a NUL is shown as "@"; Node 20 fills an abstract name up with them
    return { isDatagram: false, address: path.startsWith('@') ? `\0${path.slice(1).replace(/@+$/, '')}` : path, port: -1, addressType: -1, flags: 0, index: 0 };
  }
  return 'its path is not known here: it is of another network namespace (PrivateNetwork=)';
}

function isPathGone({ address, addressType }: Address): boolean {
  return addressType === -1 && address.startsWith('/') && !lstatSync(address, { bigint: true, throwIfNoEntry: false })?.isSocket();
}
