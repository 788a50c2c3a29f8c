/** What the program wants to do when it drains. */

/** The hooks of a drain. */
export interface Hooks {
  readonly areRunning: boolean;
  /** Before the drain a hook waits for it; from then on it runs at once. */
  add(hook: () => unknown): void;
  /** The drain has begun. */
  runAll(): void;
  /** Resolves when every hook has ended, those that were added meanwhile included. */
  settled(): Promise<void>;
}

/** A hook that fails is told of, and harms nothing else. */
export function prepareHooks(onNotice: (text: string) => void): Hooks {
  const waiting: (() => unknown)[] = [];
  const running = new Set<Promise<void>>();
  let hasBegun = false;
  const run = async (hook: () => unknown) => {
    try {
      await hook();
    } catch (error) {
      onNotice(`onDrain hook failed: ${error instanceof Error ? error.stack : String(error)}`);
    }
  };
  const start = (hook: () => unknown) => {
    const result = run(hook).then(() => void running.delete(result));
    running.add(result);
  };
  return {
    get areRunning() {
      return running.size > 0;
    },
    add(hook) {
      if (hasBegun) start(hook);
      else waiting.push(hook);
    },
    runAll() {
      hasBegun = true;
      for (const hook of waiting.splice(0)) start(hook);
    },
    async settled() {
      while (running.size > 0) await Promise.all(running);
    },
  };
}
