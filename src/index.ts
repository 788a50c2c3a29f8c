/**
 * The public API: what a program may import to take part in its own reload. A program needs none of it to be supervised.
 * Without a supervisor the same program runs as it is, and importing this makes its SIGTERM graceful.
 */
import { findRuntime, type ListenTarget } from './worker/runtime.ts';
import { runStandalone } from './worker/standalone.ts';

export type { ListenTarget } from './worker/runtime.ts';

const runtime = findRuntime() ?? runStandalone();

/** Counts the reloads of this master, from 1; 0 without a supervisor. */
export const generation: number = runtime.generation;

/**
 * Says that the program can serve. With `--wait-ready` a new worker gets no connection, and an old one is not told to drain,
 * before this is called; otherwise listening is enough. Calling it again, or without a supervisor, does nothing.
 */
export function ready(): void {
  runtime.ready();
}

/**
 * Runs the hook when this process begins to drain: it accepts no more, what is open is being finished. The process ends
 * when the hook's promise has settled and every connection has ended, at the latest at the drain timeout. A hook added
 * while draining runs at once.
 */
export function onDrain(hook: () => void | Promise<void>): void {
  runtime.onDrain(hook);
}

/**
 * What to give to `server.listen` for the address that the operator has named with `--listen ADDRESS,name=NAME`;
 * undefined where there is none: `server.listen(listener('web') ?? { port: 3000 })`.
 */
export function listener(name: string): ListenTarget | undefined {
  return runtime.listener(name);
}
