/** The part of the configuration that the core decides by. */
import type { Config } from '../../config/config.ts';
import type { Policy } from '../../core/event.ts';
import type { Fleet } from '../../core/fleet.ts';
import type { VitalSettings } from './vitals.ts';

/** Some ports of a program are there a moment after the one that made it ready, when a database has answered, say. */
const SETTLE_MS = 5000;

/** `hasSockets`: somebody else has opened sockets for the program, so it is to serve them. */
export function policyOf(config: Config, hasSockets: boolean): Policy {
  return {
    allowsAddressChange: config.allowAddressChange,
    workers: config.workers,
    surge: config.surge,
    readyTimeoutMs: config.readyTimeout,
    probationMs: config.probation,
    settleMs: Math.min(SETTLE_MS, config.readyTimeout),
    idleGraceMs: config.idleGrace,
    drainTimeoutMs: config.drainTimeout,
    killTimeoutMs: config.killTimeout,
    lingerMs: config.linger,
    maxDraining: config.maxDraining,
    backoffMinMs: config.backoffMin,
    backoffMaxMs: config.backoffMax,
    restartLimit: config.restartLimit,
    restartWindowMs: config.restartWindow,
    giveUpAfterMs: config.giveUpAfter ?? null,
    restart: config.restart,
    mustListen: hasSockets || config.listen.length > 0 || config.waitReady || config.preflight.length > 0 || config.health.length > 0,
    overlaps: config.overlap,
    hasHealth: config.health.length > 0,
    healthFailures: config.healthFailures,
    maxMemoryBytes: config.maxMemory ?? null,
    maxAgeMs: config.maxAge ?? null,
  };
}

/** What is looked at in each worker that serves. */
export function vitalSettingsOf({ phase, workers }: Fleet, configOf: (generation: number) => Config | undefined): Map<number, VitalSettings> {
  const serving = phase === 'running' ? workers.filter((worker) => worker.phase === 'serving') : [];
  return new Map(
    serving.flatMap(({ id, generation, isJob = false }) => {
      const config = configOf(generation);
      return config ? [[id, settingsOf(config, isJob)]] : [];
    }),
  );
}

/** One that waits for a debugger is not blocked, and a job may be busy for as long as it likes. */
function settingsOf(config: Config, isJob: boolean): VitalSettings {
  const isDebugged = config.nodeArg.some((arg) => arg.startsWith('--inspect'));
  return {
    heartbeatTimeoutMs: isDebugged || isJob ? 0 : config.heartbeatTimeout,
    isMemoryLimited: config.maxMemory !== undefined,
    health: { requests: config.health, statuses: config.preflightStatus, timeoutMs: config.healthTimeout },
    healthIntervalMs: config.healthInterval,
  };
}
