/**
 * The datagram sockets that this worker has of its master. A datagram is nobody's connection: what has come and is not read waits in the socket for whoever reads
 * next, so a drain just stops reading. What was read may still be owed an answer, of which nothing is known but what is sent.
 */
import { type DatagramHandle, stopReceiving } from '../node/datagram.ts';
import { isOpen } from '../node/handle.ts';
import { OpenSet } from './open-set.ts';

/** For the first answer that is owed, and after each one for the next. */
const ANSWER_MS = 500;
/** Whoever sends all the time does not answer. */
const LONGEST_MS = 5_000;

/** All of this process. */
export interface Datagrams {
  /** It was given to the program. */
  add(handle: DatagramHandle): void;
  /** One of them is open. */
  readonly areServing: boolean;
  /** None of them receives from now on. */
  withdraw(): void;
  /** Resolves when no answer has been sent for a while. */
  whenAnswered(): Promise<void>;
  /** Called when one was given to the program. */
  onBound: (handle: DatagramHandle) => void;
}

/** None yet. */
export function makeDatagrams(): Datagrams {
  const all = new OpenSet<DatagramHandle>(isOpen);
  let hasWithdrawn = false;
  let onSent: () => unknown = () => {};
  const stop = (handle: DatagramHandle) => stopReceiving(handle, () => onSent());
  const datagrams: Datagrams = {
    add(handle) {
      if (!isOpen(handle)) return;
      all.add(handle);
      if (hasWithdrawn) stop(handle);
      datagrams.onBound(handle);
    },
    get areServing() {
      return !all.isEmpty();
    },
    withdraw() {
      hasWithdrawn = true;
      for (const handle of all.list()) stop(handle);
    },
    async whenAnswered() {
      if (all.isEmpty()) return;
      const until = performance.now() + LONGEST_MS;
      await new Promise<void>((resolve) => {
        const pause = setTimeout(resolve, ANSWER_MS).unref(); // the drain keeps the process alive
        onSent = () => performance.now() < until && pause.refresh();
      });
      onSent = () => {};
    },
    onBound: () => {},
  };
  return datagrams;
}
