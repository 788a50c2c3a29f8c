/**
 * What the public API talks to. The supervisor's preload makes it, or, in a program that runs without supervisor, the
 * import of the API. It lies on `globalThis`, so that every copy of the package in a process finds the same one.
 */

import type { Registry } from './handoff/registry.ts';
import type { DrainInfo } from './hooks.ts';

/** The one runtime of a process. */
export interface Runtime extends Registry {
  /** RUNTIME_VERSION of whoever made it. */
  readonly version: number;
  /** 0 without a supervisor. */
  readonly generation: number;
  /** 0 without a supervisor. */
  readonly index: number;
  ready(): void;
  preflight(check: () => unknown): void;
  onDrain(hook: (info: DrainInfo) => unknown): void;
  listener(name: string): ListenTarget | undefined;
}

/** What to give to `server.listen`, or to `bind` of a datagram socket. */
export type ListenTarget = { readonly host?: string; readonly address?: string; readonly port: number } | { readonly path: string };

const KEY = Symbol.for('graceful-super.runtime');

/** Grows with what the API needs of a runtime, which never loses anything: a newer one will do. The program's package and the supervisor's may be two. */
const RUNTIME_VERSION = 1;

/** The runtime, once it was published. @throws an Error if it is older than this API */
export function findRuntime(): Runtime | undefined {
  const runtime = (globalThis as { [KEY]?: Runtime })[KEY];
  if (runtime === undefined || runtime.version >= RUNTIME_VERSION) return runtime;
  throw new Error(
    `this graceful-super needs a runtime of version ${RUNTIME_VERSION}, and its supervisor, or another graceful-super in this process, brings ${runtime.version}: update that one`,
  );
}

/** Makes a runtime the one of this process. */
export function publishRuntime(parts: Omit<Runtime, 'version'>): Runtime {
  const runtime = { ...parts, version: RUNTIME_VERSION };
  Object.defineProperty(globalThis, KEY, { value: runtime, enumerable: false });
  return runtime;
}
