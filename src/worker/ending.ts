/**
 * The last step of every drain, and the signal that begins one. The program's own clean-up is asked for in the words that it understands: by its SIGTERM
 * listeners; where it has none, by those of SIGINT; where it has neither, but hears messages, by the message `shutdown`, as PM2 says it. A program that handles no
 * signal may finish what it is still at: its event loop runs out, or is ended after a while.
 */
import { interceptSignal } from '../node/signal.ts';
import type { DrainTimes } from '../protocol/worker.ts';
import type { Departed } from './handoff/departed.ts';

/** SIGTERM belongs to the drain until `end` gives it back to the program. */
export interface Ending {
  /** Runs the program's own clean-up if it has any; otherwise the process ends when nothing is left to do. */
  end(times: DrainTimes, departed: Departed): void;
}

/** The first of them that the program listens to is the one it cleans up at. */
const endSignals = ['SIGTERM', 'SIGINT'] as const;

/** `onTerm` is called with how often the signal came. */
export function takeTerm(onTerm: (times: number) => void): Ending {
  let count = 0;
  const release = interceptSignal('SIGTERM', () => onTerm(++count));
  return {
    end({ killTimeoutMs, lingerMs }, departed) {
      release();
      const signal = endSignals.find((name) => process.listenerCount(name) > 0);
      departed.closeAtEnd(signal !== undefined);
      if (signal !== undefined) {
        // nobody may be left to kill a program that then hangs
        setTimeout(() => process.kill(process.pid, 'SIGKILL'), killTimeoutMs).unref();
        process.emit(signal, signal);
        return;
      }
      if (process.listenerCount('message') > 0) process.emit('message', 'shutdown', undefined);
      if (lingerMs === 0) process.exit();
      // work that a request began may go on after its answer; nothing of ours keeps the event loop from running out
      setTimeout(() => process.exit(), lingerMs).unref();
    },
  };
}
