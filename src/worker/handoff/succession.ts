/** What a worker that drains knows of those who go on with its connections. */
import type { Successors } from '../../protocol/worker.ts';

/** A master answers at once, unless it is stopped. */
const EXPECTATION_MS = 2_000;

/** At first there is nobody. */
export interface Succession {
  /** Nobody is there just now, but somebody is to be. */
  readonly areAwaited: boolean;
  /** What may travel to them only sealed is sealed with these. */
  readonly keys: readonly string[];
  /** Somebody goes on there, or is to. */
  has(listener: number): boolean;
  /** The master has told it. */
  set(successors: Successors): void;
  /** The worker leaves by itself: until the master tells who goes on there, somebody is awaited, though not for long. */
  expect(listeners: readonly number[]): void;
}

export function makeSuccession(): Succession {
  let [known, areAwaited, keys] = [new Set<number>(), false, [] as readonly string[]];
  let expectation: NodeJS.Timeout | undefined;
  const set = (successors: Successors) => {
    clearTimeout(expectation);
    [known, areAwaited, keys] = [new Set(successors.listeners), successors.areAwaited, successors.keys ?? []];
  };
  return {
    get areAwaited() {
      return areAwaited;
    },
    get keys() {
      return keys;
    },
    has: (listener) => known.has(listener),
    set,
    expect(listeners) {
      set({ listeners, areAwaited: true });
      expectation = setTimeout(set, EXPECTATION_MS, { listeners: [], areAwaited: false }).unref();
    },
  };
}
