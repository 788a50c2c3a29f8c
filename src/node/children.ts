/**
 * Servers that a program gives to its children: a child accepts as soon as it has one.
 *
 * Undocumented, tried on 20.20, 22.23, 24.21, 26.10: `child._send(message, handle, …)`, which every message to a child passes, and which Node puts on each child
 * after it was announced on the channel `child_process`; acknowledgements of handles that came from there pass it, too. Should a Node send otherwise, a
 * child of new code accepts before that is ready.
 */
import type { ChildProcess } from 'node:child_process';
import diagnostics from 'node:diagnostics_channel';

type Callback = (error: Error | null) => void;
type Message = [message: unknown, handle: unknown, options: unknown, callback?: Callback];
type Send = (...message: Message) => boolean;

interface Queue {
  readonly child: ChildProcess;
  readonly waiting: Message[];
  readonly send: Send;
}

/**
 * A message that brings along what `isHeld` waits until it is no longer so, and whatever follows it to the same child waits behind it.
 * @returns to be called when something may be held no longer
 */
export function holdServers(isHeld: (handle: unknown) => boolean): () => void {
  const queues = new Set<Queue>();
  diagnostics.subscribe('child_process', (announcement) => {
    const { process: child } = announcement as { process: ChildProcess };
    interceptSend(child, (original) => {
      const queue: Queue = { child, waiting: [], send: (...message) => Reflect.apply(original, child, message) as boolean };
      return (...message) => {
        if (isAcknowledgement(message[0]) || (queue.waiting.length === 0 && !mustWait(message, isHeld))) return queue.send(...message);
        queue.waiting.push(message);
        queues.add(queue);
        return true;
      };
    });
  });
  return () => {
    for (const queue of queues) if (flush(queue, isHeld)) queues.delete(queue);
  };
}

/** Replaces the function when Node puts it there; it looks as Node's own does. */
function interceptSend(child: ChildProcess, replace: (original: Send) => Send): void {
  const define = (value: unknown) => Object.defineProperty(child, '_send', { value, writable: true, configurable: true, enumerable: true });
  Object.defineProperty(child, '_send', { set: (original: Send) => define(replace(original)), configurable: true });
}

function mustWait([, handle]: Message, isHeld: (handle: unknown) => boolean): boolean {
  return handle !== undefined && handle !== null && isHeld(handle);
}

function isAcknowledgement(message: unknown): boolean {
  const command = typeof message === 'object' && message !== null && 'cmd' in message ? message.cmd : undefined;
  return command === 'NODE_HANDLE_ACK' || command === 'NODE_HANDLE_NACK';
}

/** @returns nothing waits any more */
function flush({ child, waiting, send }: Queue, isHeld: (handle: unknown) => boolean): boolean {
  for (let next = waiting[0]; next !== undefined && !mustWait(next, isHeld); next = waiting[0]) {
    waiting.shift();
    if (child.connected) send(...next);
    else next[3]?.(Object.assign(new Error('Channel closed'), { code: 'ERR_IPC_CHANNEL_CLOSED' })); // as Node says it
  }
  return waiting.length === 0;
}
