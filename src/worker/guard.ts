/**
 * What the runtime does by itself, on a timer, a signal or a message, happens in the user's process: an error in it must never be one of the program's, which
 * would end it. It becomes a notice.
 */
import { toReport } from '../errors.ts';

/** As many as an operator can read. */
const MOST_MISTAKES = 20;
const told = new Set<string>();
let complain: (text: string) => void = (text) => console.error(text);

/** Who is told of errors of the runtime; each is told once. */
export function onMistake(listener: (text: string) => void): void {
  complain = listener;
}

/** The same function, except that it never throws. */
export function guarded<Args extends unknown[]>(run: (...args: Args) => void): (...args: Args) => void {
  return (...args) => {
    try {
      run(...args);
    } catch (error) {
      tellMistake(error);
    }
  };
}

/** Tells of an error of the runtime, once. */
export function tellMistake(error: unknown): void {
  try {
    const { name, message, stack } = toReport(error);
    tellOnce(message, `an error of the supervisor's own, which harms the program no further: ${stack ?? `${name}: ${message}`}`);
  } catch {
    // an error that can't be described, or a channel that can't be written to: nobody can be told
  }
}

/** Tells of something, once. */
export function tellOnce(key: string, text: string): void {
  if (told.has(key) || told.size >= MOST_MISTAKES) return;
  told.add(key);
  complain(text);
}
