/** The last step of every drain, and the signal that begins one. */
import { interceptSignal } from '../node/signal.ts';
import type { DrainTimes } from '../protocol/worker.ts';

/** SIGTERM belongs to the drain until `end` gives it back to the program. */
export interface Ending {
  /** Runs the program's own SIGTERM listeners if it has any; otherwise, the process ends. */
  end(times: DrainTimes): void;
}

/** `onTerm` is called with how often the signal came. */
export function takeTerm(onTerm: (times: number) => void): Ending {
  let count = 0;
  const release = interceptSignal('SIGTERM', () => onTerm(++count));
  return {
    end({ killTimeoutMs }) {
      release();
      if (process.listenerCount('SIGTERM') === 0) process.exit();
      // nobody may be left to kill a program that then hangs
      setTimeout(() => process.kill(process.pid, 'SIGKILL'), killTimeoutMs).unref();
      process.emit('SIGTERM', 'SIGTERM');
    },
  };
}
