/**
 * systemd's descriptor store: it keeps a copy of each listener, and gives it to the next master of the unit. So they survive a
 * master that was killed, and a restart. From systemd 254, which says so by FDSTORE, with `FileDescriptorStoreMax=` in the unit. @see systemd.service(5)
 */
import { spawn } from 'node:child_process';
import type { SocketHandle } from '../../node/handle.ts';
import { type Address, type Bound, describe } from './addresses.ts';

const PREFIX = 'graceful-super';
const NAME_LIMIT = 255;
const PATIENCE_MS = 10_000;

/** Where listeners outlive the master. */
export interface DescriptorStore {
  /** Gives systemd a copy, soon. False where there is no room for it, or no store. */
  keep(address: Bound, handle: SocketHandle): boolean;
  /** Takes it back. */
  drop(address: Address): void;
}

/** `used`: how many are in it already. `complain` hears of what could not be kept. */
export function openStore(env: Readonly<NodeJS.ProcessEnv>, used: number, complain: (text: string) => void): DescriptorStore {
  const { FDSTORE, NOTIFY_SOCKET, PATH } = env;
  if (!(Number(FDSTORE) > 0) || NOTIFY_SOCKET === undefined) return { keep: () => false, drop() {} };
  let room = Number(FDSTORE) - used;
  let last: Promise<unknown> = Promise.resolve(); // one after the other: what is dropped was kept before
  const tell = (task: () => Promise<void>) => {
    last = last.then(task).catch((error) => complain(`systemd-notify: ${error instanceof Error ? error.message : String(error)}`));
  };
  const notify = (args: readonly string[], fd: number | 'ignore') => runNotify(args, { NOTIFY_SOCKET, PATH }, fd);
  return {
    keep(address, handle) {
      const name = storedName(address);
      if (name.length > NAME_LIMIT || handle.fd === undefined || handle.fd < 0) return false;
      if (room < 1) complain(`there is no room for ${describe(address)}: FileDescriptorStoreMax= is ${FDSTORE}`);
      if (room < 1) return false;
      room--;
      // FDPOLL=0: nobody has listened on it yet, and systemd would take that for a hang-up
      tell(async () => {
        const { fd = -1 } = handle;
        if (fd >= 0) await notify(['--fd=3', `--fdname=${name}`, 'FDPOLL=0'], fd); // below 0: closed meanwhile
      });
      return true;
    },
    drop(address) {
      room++;
      tell(() => notify(['FDSTOREREMOVE=1', `FDNAME=${storedName(address)}`], 'ignore'));
    },
  };
}

/** The name of a descriptor: printable ASCII without a colon. @see sd_pid_notify_with_fds(3) */
export function storedName({ isDatagram, address, port, addressType, flags, index }: Address): string {
  return [PREFIX, `${isDatagram ? 'udp' : ''}${addressType}`, port, flags, index, encodeURIComponent(address).replaceAll('%2F', '/')].join(' ');
}

/** The address that a name stands for; undefined where it is none of ours. */
export function parseStoredName(name: string | null): Address | undefined {
  const [prefix, kind = '', port, flags, index, address, ...more] = name?.split(' ') ?? [];
  if (prefix !== PREFIX || address === undefined || more.length > 0) return undefined;
  const isDatagram = kind.startsWith('udp');
  const addressType = Number(kind.replace('udp', ''));
  return { isDatagram, address: decodeURIComponent(address), port: Number(port), addressType, flags: Number(flags), index: Number(index) };
}

/** Returns when systemd has acted on it. */
function runNotify(args: readonly string[], env: NodeJS.ProcessEnv, fd: number | 'ignore'): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn('systemd-notify', args, { env, stdio: ['ignore', 'ignore', 'pipe', fd], timeout: PATIENCE_MS });
    let said = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    child.once('error', reject);
    child.once('close', (code) => (code === 0 ? resolve() : reject(new Error(said.trim() || `it ended with ${code}`))));
  });
}
