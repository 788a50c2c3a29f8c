/**
 * Messages between master and worker that the user's program does not see.
 *
 * Undocumented: a message whose `cmd` starts with `NODE_` arrives as `internalMessage` instead of `message`, and a listener
 * for it does not keep the process alive. Tried on 20.20, 22.23, 24.21, 26.10. Should a Node stop doing so, the messages
 * arrive as `message`, so that is listened to as well by the master; a worker would then never hear of anything, and its
 * start fails with the ready timeout. The receiver of a handle acknowledges it by `NODE_HANDLE_ACK`, in order; a descriptor
 * that did not arrive (EMFILE there) by `NODE_HANDLE_NACK`, and its message is dropped. Should that change, such a loss is not
 * noticed.
 */
import type { ChildProcess } from 'node:child_process';
import type { ConnectionHandle } from './connection.ts';
import type { ListenHandle } from './handle.ts';

const COMMAND = 'NODE_GRACEFUL_SUPER';

interface Envelope {
  readonly cmd: typeof COMMAND;
  readonly body: unknown;
}

/** What can come along with a message. */
export type Handle = ListenHandle | ConnectionHandle;

/** Either end of a channel. */
export type Channel = ChildProcess | NodeJS.Process;

/**
 * Sends a message, and with it perhaps a handle; a raw handle stays open here, the receiver gets a copy. A channel that
 * is closed swallows it: the end of the process on the other side is told by its own event. `onLost` is called if the
 * descriptor of the handle did not arrive; then the message did not, either.
 */
export function sendHidden(channel: Channel, body: object, handle?: Handle, onLost?: () => void): void {
  if (!channel.connected) return;
  const envelope: Envelope = { cmd: COMMAND, body };
  if (handle) expectReceipt(channel, onLost);
  channel.send?.(envelope, handle as never, { keepOpen: true }, () => {
    // written, or the channel broke meanwhile (ERR_IPC_CHANNEL_CLOSED, EPIPE): see above
  });
}

const receipts = new WeakMap<Channel, ((() => void) | undefined)[]>();

function expectReceipt(channel: Channel, onLost: (() => void) | undefined): void {
  const expected = receipts.get(channel) ?? [];
  expected.push(onLost);
  if (receipts.has(channel)) return;
  receipts.set(channel, expected);
  channel.on('internalMessage' as 'message', (message: unknown) => {
    const command = typeof message === 'object' && message !== null && 'cmd' in message ? message.cmd : undefined;
    if (command === 'NODE_HANDLE_ACK') expected.shift();
    if (command === 'NODE_HANDLE_NACK') expected.shift()?.();
  });
}

/** Calls the listener with each such message and the handle that came along. */
export function onHidden(channel: Channel, listener: (body: unknown, handle: Handle | undefined) => void): void {
  channel.on('internalMessage' as 'message', (message: unknown, handle: unknown) => {
    if (isEnvelope(message)) listener(message.body, handle as Handle | undefined);
  });
}

function isEnvelope(message: unknown): message is Envelope {
  return typeof message === 'object' && message !== null && 'cmd' in message && message.cmd === COMMAND;
}
