/** The part of the configuration that the core decides by. */
import type { Config } from '../config/config.ts';
import type { Policy } from '../core/event.ts';

export function policyOf(config: Config): Policy {
  return {
    workers: config.workers,
    surge: config.surge,
    readyTimeoutMs: config.readyTimeout,
    probationMs: config.probation,
    idleGraceMs: config.idleGrace,
    drainTimeoutMs: config.drainTimeout,
    killTimeoutMs: config.killTimeout,
    maxDraining: config.maxDraining,
    backoffMinMs: config.backoffMin,
    backoffMaxMs: config.backoffMax,
    restartLimit: config.restartLimit,
    restartWindowMs: config.restartWindow,
  };
}
