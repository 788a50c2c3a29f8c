/**
 * When the next worker may be started after crashes, and when it is a crash loop. PURE.
 * The first crash of each worker place costs no delay; then it doubles from `backoffMinMs` to `backoffMaxMs`.
 */
import type { Policy } from './event.ts';

/** What is remembered of the crashes of a generation. */
export interface Backoff {
  /** Times of the crashes inside the window, oldest first. */
  readonly crashes: readonly number[];
  /** No worker is started before. */
  readonly nextStartAt: number;
  /** The restart intensity is exceeded. */
  readonly isLooping: boolean;
}

/** Nothing has crashed yet. */
export const calm: Backoff = { crashes: [], nextStartAt: 0, isLooping: false };

/** A worker crashed; `chance` in [0, 1) spreads the delay between half and the whole of it. */
export function afterCrash(backoff: Backoff, now: number, chance: number, policy: Policy): Backoff {
  const limit = policy.restartLimit * policy.workers;
  const recent = backoff.crashes.filter((at) => now - at < policy.restartWindowMs).slice(-limit);
  const crashes = [...recent, now];
  const rounds = Math.ceil(crashes.length / policy.workers);
  return { crashes, nextStartAt: Math.max(backoff.nextStartAt, now + delayMs(rounds, chance, policy)), isLooping: crashes.length > limit };
}

/** The delay before the restart of that round, in milliseconds: 0, min, 2·min, 4·min … max. */
export function delayMs(rounds: number, chance: number, policy: Policy): number {
  if (rounds <= 1) return 0;
  const whole = Math.min(policy.backoffMaxMs, policy.backoffMinMs * 2 ** Math.min(rounds - 2, 30));
  return Math.round(whole * (0.5 + chance / 2));
}
