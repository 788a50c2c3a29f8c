/**
 * What the public API talks to. The supervisor's preload makes it, or, in a program that runs without supervisor, the
 * import of the API. It lies on `globalThis`, so that every copy of the package in a process finds the same one.
 */

import type { Registry } from './handoff/registry.ts';
import type { DrainInfo } from './hooks.ts';

/** The one runtime of a process. */
export interface Runtime extends Registry {
  /** 0 without a supervisor. */
  readonly generation: number;
  /** 0 without a supervisor. */
  readonly index: number;
  ready(): void;
  preflight(check: () => unknown): void;
  onDrain(hook: (info: DrainInfo) => unknown): void;
  listener(name: string): ListenTarget | undefined;
}

/** What to give to `server.listen`. */
export type ListenTarget = { readonly host?: string; readonly port: number } | { readonly path: string };

const KEY = Symbol.for('graceful-super.runtime');

/** The runtime, once it was published. */
export function findRuntime(): Runtime | undefined {
  return (globalThis as { [KEY]?: Runtime })[KEY];
}

/** Makes a runtime the one of this process. */
export function publishRuntime(runtime: Runtime): Runtime {
  Object.defineProperty(globalThis, KEY, { value: runtime, enumerable: false });
  return runtime;
}
