/** The master as it is now, for `status`. */
import { isOver } from '../core/backoff.ts';
import type { Fleet } from '../core/fleet.ts';
import type { Worker } from '../core/worker.ts';
import type { Status, WorkerStatus } from '../protocol/control.ts';
import { describeOutcome, type PidOf } from './wording.ts';

/** What the fleet does not know itself. */
export interface Surroundings {
  readonly name: string;
  readonly version: string;
  readonly script: string;
  readonly startedAt: number;
  readonly now: number;
  readonly listeners: Status['listeners'];
  readonly pidOf: PidOf;
  countConnections(worker: number): Promise<number | null>;
}

/** Asks every worker how many connections it has; one that does not answer counts as unknown. */
export async function takeStatus(fleet: Fleet, around: Surroundings): Promise<Status> {
  const { now } = around;
  const workers = await Promise.all(fleet.workers.map((worker) => workerStatus(worker, around)));
  const { backoff, policy, lastOutcome } = fleet;
  return {
    name: around.name,
    pid: process.pid,
    version: around.version,
    node: process.version,
    phase: fleet.phase,
    uptimeMs: Math.round(now - around.startedAt),
    script: around.script,
    generation: fleet.generation,
    workersWanted: policy.workers,
    listeners: around.listeners,
    workers,
    restarts: fleet.restarts,
    isCrashLooping: backoff.isLooping && !isOver(backoff, now, policy),
    nextRestartInMs: backoff.nextStartAt > now ? Math.round(backoff.nextStartAt - now) : null,
    reload: { phase: fleet.reload.phase, generation: fleet.reload.phase === 'idle' ? null : fleet.reload.generation },
    lastReload: lastOutcome && {
      outcome: lastOutcome.outcome,
      generation: lastOutcome.generation,
      durationMs: Math.round(lastOutcome.durationMs),
      agoMs: Math.round(now - lastOutcome.endedAt),
      text: describeOutcome(lastOutcome, around.pidOf).text,
    },
  };
}

async function workerStatus(worker: Worker, { now, pidOf, countConnections }: Surroundings): Promise<WorkerStatus> {
  return {
    id: worker.id,
    pid: pidOf(worker.id) ?? null,
    generation: worker.generation,
    phase: worker.phase,
    uptimeMs: Math.round(now - worker.spawnedAt),
    connections: await countConnections(worker.id),
    deadlineInMs: 'deadline' in worker ? Math.max(0, Math.round(worker.deadline - now)) : null,
  };
}
