/**
 * Handles on a channel, several at once. Node writes a handle only when the one before was acknowledged, with all that follows waiting behind it: a round
 * trip for each. Here they are written at once, and it is kept in mind who acknowledges which.
 *
 * Undocumented, each tried on 20.20, 22.23, 24.21, 26.10:
 * - `channel._handleQueue`: null, or what waits for the acknowledgement of a handle. It is null while Node writes one of ours, and as it was afterwards.
 *   Missing: handles go one at a time, and a lost one is not noticed.
 * - `NODE_HANDLE_ACK`, or `NODE_HANDLE_NACK` for a descriptor that did not arrive (EMFILE there), which drops the message: one for each handle, in the order
 *   in which they were written. Node's own listener must take one of ours for that of a handle which nothing waits behind.
 * - `channel._pendingMessage`: what Node would send again if that was lost; of a handle that the program itself has sent.
 */
import type { ChildProcess } from 'node:child_process';
import type { ConnectionHandle } from './connection.ts';
import type { ListenHandle } from './handle.ts';

/** What can come along with a message. */
export type Handle = ListenHandle | ConnectionHandle;

/** Either end of a channel. */
export type Channel = ChildProcess | NodeJS.Process;

interface Internals {
  _handleQueue?: unknown[] | null;
  _pendingMessage?: unknown;
}

/** Called if the handle is lost. */
type OnLost = () => void;

/** What was written and not acknowledged, in order; null: a handle that the program has sent, at most one. */
type Unacknowledged = (OnLost | null)[];

const accounts = new WeakMap<Channel, Unacknowledged>();

/** Writes a message, whatever waits in Node's queue: what is ours stays in order. */
export function writePlain(channel: Channel, message: object): void {
  // an error: the channel is closed, which is told by its own event
  past(channel, () => channel.send?.(message, undefined, undefined, ignore));
}

/** Writes a message with its handle. `onWritten`: it is, or never will be; `onLost`: its descriptor did not arrive, nor did the message. */
export function writeHandle(channel: Channel, message: object, handle: Handle, onWritten: () => void, onLost: OnLost = ignore): void {
  const unacknowledged = accounts.get(channel) ?? watch(channel);
  noteOthers(channel as Internals, unacknowledged);
  const onSent = (error: Error | null) => {
    onWritten();
    if (error !== null) onLost();
  };
  const isUnacknowledged = past(channel, () => channel.send?.(message, handle as never, { keepOpen: true }, onSent));
  if (isUnacknowledged) unacknowledged.push(onLost);
}

/** @returns whether a handle was written */
function past(channel: Channel, send: () => void): boolean {
  const internals = channel as Internals;
  const others = internals._handleQueue;
  if (others !== undefined) internals._handleQueue = null;
  send();
  const isUnacknowledged = Array.isArray(internals._handleQueue);
  if (others !== undefined) internals._handleQueue = others;
  return isUnacknowledged && others !== undefined;
}

/** A handle that the program has sent is written already: whatever is to follow it in Node's queue waits for it. */
function noteOthers({ _handleQueue: others = null }: Internals, unacknowledged: Unacknowledged): void {
  if (others !== null && !unacknowledged.includes(null)) unacknowledged.push(null);
}

function watch(channel: Channel): Unacknowledged {
  const unacknowledged: Unacknowledged = [];
  accounts.set(channel, unacknowledged);
  const internals = channel as Internals;
  let afterwards = ignore;
  channel.prependListener('internalMessage' as 'message', (message: unknown) => {
    const command = typeof message === 'object' && message !== null && 'cmd' in message ? message.cmd : undefined;
    if (command !== 'NODE_HANDLE_ACK' && command !== 'NODE_HANDLE_NACK') return;
    noteOthers(channel as Internals, unacknowledged);
    const onLost = unacknowledged.shift() ?? null;
    if (onLost === null) return;
    const { _handleQueue, _pendingMessage } = internals;
    Object.assign(internals, { _handleQueue: [], _pendingMessage: null });
    afterwards = () => {
      Object.assign(internals, { _handleQueue, _pendingMessage });
      if (command === 'NODE_HANDLE_NACK') onLost();
    };
  });
  channel.on('internalMessage' as 'message', () => {
    const run = afterwards;
    afterwards = ignore;
    run();
  });
  return unacknowledged;
}

function ignore(): void {}
