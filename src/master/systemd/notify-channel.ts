/**
 * The way to systemd. Node has no Unix datagram sockets, so: the descriptor that `OpenFile=` named "notify" (from systemd 253), or else the program
 * `systemd-notify`, one at a time. While one runs, what comes is gathered: the latest of everything, but no change of state is left out.
 */
import { writeSync } from 'node:fs';

const FIRST_FD = 3;
/** A change of state: told for itself, in its order. */
const states = ['READY', 'RELOADING', 'STOPPING'];
const PATIENCE_MS = 10_000;

/** Assignments as in sd_notify(3), by their names. */
export type NotifyMessage = Readonly<Record<string, string>>;

export interface NotifyChannel {
  send(message: NotifyMessage): void;
  /** Everything is sent when this settles. */
  close(): Promise<void>;
}

/** Undefined: there is no systemd that wants to hear. `complain` is told once that it can't be reached. */
export function openNotifyChannel(env: Readonly<NodeJS.ProcessEnv>, complain: (text: string) => void): NotifyChannel | undefined {
  let hasFailed = false;
  const fail = (error: unknown) => {
    if (!hasFailed) complain(`cannot notify systemd: ${error instanceof Error ? error.message : String(error)}`);
    hasFailed = true;
  };
  const fd = findDescriptor('notify', env);
  if (fd !== undefined) return writeTo(fd, fail);
  return env['NOTIFY_SOCKET'] ? spawnEach(fail) : undefined;
}

/** A descriptor that systemd passed under this name. @see sd_listen_fds_with_names(3) */
function findDescriptor(name: string, { LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES }: Readonly<NodeJS.ProcessEnv>): number | undefined {
  if (Number(LISTEN_PID) !== process.pid) return undefined;
  const index = (LISTEN_FDNAMES ?? '').split(':').slice(0, Number(LISTEN_FDS)).indexOf(name);
  return index < 0 ? undefined : FIRST_FD + index;
}

function writeTo(fd: number, fail: (error: unknown) => void): NotifyChannel {
  return {
    send(message) {
      try {
        writeSync(fd, toLines(message).join('\n'));
      } catch (error) {
        fail(error);
      }
    },
    close: () => Promise.resolve(),
  };
}

function spawnEach(fail: (error: unknown) => void): NotifyChannel {
  const waiting: NotifyMessage[] = [];
  let running: Promise<void> | undefined;
  const run = async () => {
    const { execa } = await import('execa');
    for (let message = waiting.shift(); message !== undefined; message = waiting.shift()) {
      // it returns when systemd has read the message
      await execa('systemd-notify', toLines(message), { stdin: 'ignore', timeout: PATIENCE_MS }).catch(fail);
    }
    running = undefined;
  };
  return {
    send(message) {
      const last = waiting.at(-1);
      if (last === undefined || states.some((state) => state in message)) waiting.push(message);
      else waiting[waiting.length - 1] = { ...last, ...message };
      running ??= run();
    },
    close: async () => running,
  };
}

function toLines(message: NotifyMessage): string[] {
  return Object.entries(message).map(([name, value]) => `${name}=${value}`);
}
