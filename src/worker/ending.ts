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
  end(how: HowToEnd): void;
}

export interface HowToEnd {
  readonly times: DrainTimes;
  readonly departed: Departed;
  /** The master wants it to; otherwise it is only the signal that ends it, and it ends as a process does that has no listener for that. */
  readonly isTold: boolean;
  /** It could end, but something keeps its event loop: what, in words. */
  onLinger?(what: string): void;
}

/** The first of them that the program listens to is the one it cleans up at. */
const endSignals = ['SIGTERM', 'SIGINT'] as const;
/** Who lingers for longer is told of. */
const MOMENT_MS = 500;

/** `onTerm` is called with how often the signal came. */
export function takeTerm(onTerm: (times: number) => void): Ending {
  let count = 0;
  const release = interceptSignal('SIGTERM', () => onTerm(++count));
  return {
    end(how) {
      const { killTimeoutMs } = how.times;
      release();
      const signal = endSignals.find((name) => process.listenerCount(name) > 0);
      how.departed.closeAtEnd(signal !== undefined);
      if (signal === undefined) return linger(how);
      // nobody may be left to kill a program that then hangs
      setTimeout(() => process.kill(process.pid, 'SIGKILL'), killTimeoutMs).unref();
      process.emit(signal, signal);
    },
  };
}

/** Work that a request began may go on after its answer; nothing of ours keeps the event loop from running out. */
function linger({ times: { lingerMs }, isTold, onLinger }: HowToEnd): void {
  if (process.listenerCount('message') > 0) process.emit('message', 'shutdown', undefined);
  const end = () => {
    if (!isTold) endBySignal();
    process.exit();
  };
  if (lingerMs === 0) return end();
  if (!isTold) process.once('beforeExit', endBySignal);
  setTimeout(end, lingerMs).unref();
  if (onLinger && lingerMs > MOMENT_MS) setTimeout(() => onLinger(whatKeepsTheLoop()), MOMENT_MS).unref();
}

/** The last thing of all; unless the program gives a code of its own. */
function endBySignal(): void {
  process.once('exit', (code) => code === 0 && process.kill(process.pid, 'SIGTERM'));
}

/** `Timeout (2), TCPSocketWrap`: as Node names them. */
function whatKeepsTheLoop(): string {
  const counts = new Map<string, number>();
  for (const resource of process.getActiveResourcesInfo()) counts.set(resource, (counts.get(resource) ?? 0) + 1);
  return [...counts].map(([resource, count]) => (count > 1 ? `${resource} (${count})` : resource)).join(', ');
}
