/** What the program wants to do when it drains. */
import type { DrainReason } from '../protocol/worker.ts';

/** What a hook is told. */
export interface DrainInfo {
  /** `reload`: another worker takes this one's place; `stop`: nobody does. */
  readonly reason: DrainReason;
}

type Hook = (info: DrainInfo) => unknown;

/** The hooks of a drain. */
export interface Hooks {
  readonly areRunning: boolean;
  /** Before the drain a hook waits for it; from then on it runs at once. */
  add(hook: Hook): void;
  /** The drain has begun. */
  runAll(info: DrainInfo): void;
  /** Resolves when every hook has ended, those that were added meanwhile included. */
  settled(): Promise<void>;
}

/** A hook that fails is told of, and harms nothing else. */
export function prepareHooks(onNotice: (text: string) => void): Hooks {
  const waiting: Hook[] = [];
  const running = new Set<Promise<void>>();
  let begun: DrainInfo | undefined;
  const run = async (hook: Hook, info: DrainInfo) => {
    try {
      await hook(info);
    } catch (error) {
      onNotice(`onDrain hook failed: ${error instanceof Error ? error.stack : String(error)}`);
    }
  };
  const start = (hook: Hook, info: DrainInfo) => {
    const result = run(hook, info).then(() => void running.delete(result));
    running.add(result);
  };
  return {
    get areRunning() {
      return running.size > 0;
    },
    add(hook) {
      if (begun) start(hook, begun);
      else waiting.push(hook);
    },
    runAll(info) {
      begun = info;
      for (const hook of waiting.splice(0)) start(hook, info);
    },
    async settled() {
      while (running.size > 0) await Promise.all(running);
    },
  };
}
