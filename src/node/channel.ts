/**
 * Messages between master and worker that the user's program does not see.
 *
 * Undocumented: a message whose `cmd` starts with `NODE_` arrives as `internalMessage` instead of `message`, and a listener
 * for it does not keep the process alive. Tried on 20.20, 22.23, 24.21, 26.10. Should a Node stop doing so, the messages
 * arrive as `message`, so that is listened to as well by the master; a worker would then never hear of anything, and its
 * start fails with the ready timeout.
 *
 * Which descriptor belongs to which message? Node gives a message the last one that has come, which is another's if one read
 * brings the end of a long message and the beginning of the next: so what comes with a handle is short, and says the inode of
 * its socket. Where that is not the descriptor's, the message counts as one whose descriptor did not arrive.
 */
import { fstatSync } from 'node:fs';
import { type Channel, type Handle, writeHandle, writePlain } from './receipts.ts';

const COMMAND = 'NODE_GRACEFUL_SUPER';

/** Longest body, in characters, that comes with its handle; a longer one is sent ahead. Node reads 64 KiB at once. */
const LONGEST = 4_096;

interface Envelope {
  readonly cmd: typeof COMMAND;
  readonly body?: unknown;
  /** The body of the message that follows, which has a handle. */
  readonly ahead?: unknown;
  /** Of the handle; 0: the system does not say. */
  readonly inode?: number;
}

/**
 * Sends a message, and with it perhaps a handle; a raw handle stays open here, to be closed by `closeSent`: the receiver gets
 * a copy. A channel that is closed swallows it: the end of the process on the other side is told by its own event.
 * `onLost` is called if the descriptor of the handle did not arrive; then the message did not, either.
 */
export function sendHidden(channel: Channel, body: object, handle?: Handle, onLost?: () => void): void {
  if (!channel.connected) return;
  if (handle === undefined) return writePlain(channel, { cmd: COMMAND, body } satisfies Envelope);
  const isLong = JSON.stringify(body).length > LONGEST;
  if (isLong) writePlain(channel, { cmd: COMMAND, ahead: body } satisfies Envelope);
  const envelope: Envelope = { cmd: COMMAND, inode: inodeOf(handle), ...(isLong ? {} : { body }) };
  const channels = sending.get(handle) ?? new Set();
  sending.set(handle, channels.add(channel));
  const onWritten = () => {
    channels.delete(channel);
    if (channels.size === 0 && closing.delete(handle)) handle.close();
  };
  writeHandle(channel, envelope, handle, onWritten, onLost);
}

/** Where a handle is not written yet: a process that is stopped does not read. */
const sending = new WeakMap<Handle, Set<Channel>>();
const closing = new WeakSet<Handle>();

/**
 * Closes a handle that was sent, or will be by the time it is written. (libuv can't write a handle that was closed meanwhile,
 * and Node waits for its acknowledgement for ever, with all later messages behind it.)
 */
export function closeSent(handle: Handle): void {
  const channels = [...(sending.get(handle) ?? [])];
  if (channels.some(({ connected }) => connected)) closing.add(handle);
  else handle.close();
}

/** Calls the listener with each such message and the handle that came along; undefined also where its descriptor is lost. */
export function onHidden(channel: Channel, listener: (body: unknown, handle: Handle | undefined) => void): void {
  let ahead: unknown;
  channel.on('internalMessage' as 'message', (message: unknown, handle: Handle | undefined) => {
    if (!isEnvelope(message)) return;
    if ('ahead' in message) {
      ahead = message.ahead;
      return;
    }
    const isOther = handle !== undefined && inodeOf(handle) !== message.inode;
    if (isOther) handle.close();
    listener('body' in message ? message.body : ahead, isOther ? undefined : handle);
  });
}

function isEnvelope(message: unknown): message is Envelope {
  return typeof message === 'object' && message !== null && 'cmd' in message && message.cmd === COMMAND;
}

/** A socket's inode is its own as long as anybody has it open. Undocumented: `handle.fd`. */
function inodeOf({ fd = -1 }: Handle): number {
  return fd < 0 ? 0 : fstatSync(fd).ino;
}
