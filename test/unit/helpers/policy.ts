/** Numbers that are easy to reckon with. */
import type { Policy } from '../../../src/core/event.ts';

const small: Policy = {
  allowsAddressChange: false,
  settleMs: 0,
  workers: 1,
  surge: 8,
  readyTimeoutMs: 1000,
  probationMs: 0,
  idleGraceMs: 50,
  drainTimeoutMs: 500,
  killTimeoutMs: 100,
  lingerMs: 0,
  maxDraining: 10,
  backoffMinMs: 100,
  backoffMaxMs: 1600,
  restartLimit: 20,
  restartWindowMs: 60_000,
  giveUpAfterMs: null,
  restart: 'always',
  mustListen: true,
  overlaps: true,
  hasHealth: false,
  healthFailures: 3,
  maxMemoryBytes: null,
  maxAgeMs: null,
};

/** A policy that differs from the small one in what is named. */
export function policyWith(changes: Partial<Policy> = {}): Policy {
  return { ...small, ...changes };
}
