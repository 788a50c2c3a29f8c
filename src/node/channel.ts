/**
 * Messages between master and worker that the user's program does not see.
 *
 * Undocumented: a message whose `cmd` starts with `NODE_` arrives as `internalMessage` instead of `message`, and a listener
 * for it does not keep the process alive. Tried on 20.20, 22.23, 24.21, 26.10. Should a Node stop doing so, the messages
 * arrive as `message`, so that is listened to as well by the master; a worker would then never hear of anything, and its
 * start fails with the ready timeout.
 *
 * A handle is acknowledged by its receiver (`NODE_HANDLE_ACK`), or, if the descriptor did not arrive (EMFILE there), its
 * message is dropped and a `NODE_HANDLE_NACK` sent. Node writes one handle at a time, whoever sends it, and tells by the
 * callback of `send` that it is written: so what is acknowledged next is the one that was written last. Should that change,
 * such a loss is not noticed.
 */
import type { ChildProcess } from 'node:child_process';
import type { ConnectionHandle } from './connection.ts';
import type { DatagramHandle } from './datagram.ts';
import type { ListenHandle } from './handle.ts';

const COMMAND = 'NODE_GRACEFUL_SUPER';

interface Envelope {
  readonly cmd: typeof COMMAND;
  readonly body: unknown;
}

/** What can come along with a message. */
export type Handle = ListenHandle | DatagramHandle | ConnectionHandle;

/** Either end of a channel. */
export type Channel = ChildProcess | NodeJS.Process;

/**
 * Sends a message, and with it perhaps a handle; a raw handle stays open here, to be closed by `closeSent`: the receiver gets
 * a copy. A channel that is closed swallows it: the end of the process on the other side is told by its own event.
 * `onLost` is called, later, if the descriptor of the handle did not arrive; then the message did not, either.
 */
export function sendHidden(channel: Channel, body: object, handle?: Handle, onLost?: () => void): void {
  if (!channel.connected || hasEnded(channel)) {
    if (onLost) process.nextTick(onLost);
    return;
  }
  const envelope: Envelope = { cmd: COMMAND, body };
  const onSent = handle && startSending(channel, handle, onLost);
  channel.send?.(envelope, handle as never, { keepOpen: true }, (error) => onSent?.(error)); // for anything else see above
}

/**
 * Closes a handle that was sent, or will be by the time it is written. (libuv can't write a handle that was closed meanwhile,
 * and Node waits for its acknowledgement for ever, with all later messages behind it.) `close` is called when it may be closed.
 */
export function closeSent(handle: Handle, close: () => void = () => handle.close()): void {
  const channels = [...(sending.get(handle) ?? [])];
  if (channels.some(({ connected }) => connected)) closing.set(handle, close);
  else close();
}

/** Its end is told before that of its channel; what waits for it then waits for ever. */
function hasEnded(channel: Channel): boolean {
  return channel !== process && ((channel.exitCode ?? null) !== null || ((channel as ChildProcess).signalCode ?? null) !== null);
}

interface Traffic {
  /** Handles that are not written yet. */
  readonly unwritten: Set<Handle>;
  /** Of the handle that waits for its acknowledgement, if it is one of ours. */
  onLost: (() => void) | undefined;
}

const traffics = new WeakMap<Channel, Traffic>();
/** Where a handle is not written yet: a process that is stopped does not read. */
const sending = new WeakMap<Handle, Set<Channel>>();
const closing = new WeakMap<Handle, () => void>();

/** @returns to be called when it was written */
function startSending(channel: Channel, handle: Handle, onLost: (() => void) | undefined): (error: Error | null) => void {
  const traffic = traffics.get(channel) ?? watchTraffic(channel);
  traffic.unwritten.add(handle);
  const channels = sending.get(handle) ?? new Set();
  sending.set(handle, channels.add(channel));
  return (error) => {
    stopSending(channel, handle);
    if (error === null) traffic.onLost = onLost;
    else onLost?.();
  };
}

function stopSending(channel: Channel, handle: Handle): void {
  const channels = sending.get(handle);
  traffics.get(channel)?.unwritten.delete(handle);
  channels?.delete(channel);
  if (channels?.size !== 0) return;
  closing.get(handle)?.();
  closing.delete(handle);
}

function watchTraffic(channel: Channel): Traffic {
  const traffic: Traffic = { unwritten: new Set(), onLost: undefined };
  traffics.set(channel, traffic);
  channel.on('internalMessage' as 'message', (message: unknown) => {
    const command = typeof message === 'object' && message !== null && 'cmd' in message ? message.cmd : undefined;
    if (command !== 'NODE_HANDLE_ACK' && command !== 'NODE_HANDLE_NACK') return;
    const { onLost } = traffic;
    traffic.onLost = undefined;
    if (command === 'NODE_HANDLE_NACK') onLost?.();
  });
  // what waits for the acknowledgement of a process that has ended is never written, and nobody is told
  if (channel !== process) channel.once('exit', () => [...traffic.unwritten].forEach((handle) => void stopSending(channel, handle)));
  return traffic;
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
