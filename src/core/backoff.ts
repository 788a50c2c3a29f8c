/**
 * When the next worker may be started after crashes, and when it is a crash loop. PURE.
 * Crashes with no quiet `restartWindowMs` between them are a streak. The first crash of each worker place in it costs no
 * delay; then the delay doubles from `backoffMinMs` to `backoffMaxMs`.
 */
import type { Policy } from './event.ts';

/** What is remembered of the crashes of a generation. */
export interface Backoff {
  /** Crashes of this streak. */
  readonly streak: number;
  readonly lastCrashAt: number;
  /** No worker is started before. */
  readonly nextStartAt: number;
  /** The streak has more than `restartLimit` crashes for each worker wanted. */
  readonly isLooping: boolean;
  /** Since when; null: it has not. */
  readonly loopingSince: number | null;
}

/** Nothing has crashed yet. */
export const noCrashes: Backoff = { streak: 0, lastCrashAt: Number.NEGATIVE_INFINITY, nextStartAt: 0, isLooping: false, loopingSince: null };

/** A worker crashed; `chance` in [0, 1) spreads the delay between half and the whole of it. */
export function afterCrash(backoff: Backoff, now: number, chance: number, policy: Policy): Backoff {
  const streak = isOver(backoff, now, policy) ? 1 : backoff.streak + 1;
  const rounds = Math.ceil(streak / policy.workers);
  const nextStartAt = Math.max(backoff.nextStartAt, now + delayMs(rounds, chance, policy));
  const isLooping = streak > policy.restartLimit * policy.workers;
  return { streak, lastCrashAt: now, nextStartAt, isLooping, loopingSince: isLooping ? (backoff.loopingSince ?? now) : null };
}

/** Nothing has crashed for a whole window since the last restart. */
export function isOver(backoff: Backoff, now: number, policy: Policy): boolean {
  return now >= quietAt(backoff, policy);
}

/** When that will be so, if nothing crashes until then. */
export function quietAt({ lastCrashAt, nextStartAt }: Backoff, policy: Policy): number {
  return Math.max(lastCrashAt, nextStartAt) + policy.restartWindowMs;
}

/** The delay before the restart of that round, in milliseconds: 0, min, 2·min, 4·min … max. */
export function delayMs(rounds: number, chance: number, policy: Policy): number {
  if (rounds <= 1) return 0;
  const whole = Math.min(policy.backoffMaxMs, policy.backoffMinMs * 2 ** Math.min(rounds - 2, 30));
  return Math.round(whole * (0.5 + chance / 2));
}
