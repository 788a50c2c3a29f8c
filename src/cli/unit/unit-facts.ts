/** What there is to know of a program before its units can be written. */
import type { Config } from '../../config/config.ts';

/** What a unit is made from. */
export interface UnitFacts {
  readonly config: Config;
  /** Node, and graceful-super. */
  readonly program: readonly [node: string, script: string];
  /** What follows `start`, less `--name` and `--runtime-dir`. */
  readonly args: readonly string[];
  /** Files that its command names, which it must be able to read. */
  readonly files: readonly string[];
  /** User that it runs as; `dynamic`: one that systemd makes up. A user's own unit runs as that user. */
  readonly owner: { readonly kind: 'system'; readonly user: string } | { readonly kind: 'user'; readonly uid: number };
  readonly systemdVersion: number;
  /** `.socket` units that belong to it. */
  readonly sockets: readonly string[];
}
