/** The master as it is now, for `status`. */
import { isOver } from '../../core/backoff.ts';
import type { ConnectionAccount, ConnectionCounts } from '../../core/event.ts';
import type { Fleet } from '../../core/fleet.ts';
import { accountOf } from '../../core/state.ts';
import type { Worker } from '../../core/worker-state.ts';
import type { Status, WorkerStatus } from '../../protocol/control.ts';
import { describeFailure, describeOutcome, type PidOf } from '../log/wording.ts';

/** What the fleet does not know itself. */
export interface StatusSources {
  readonly name: string;
  readonly version: string;
  readonly script: string;
  readonly startedAt: number;
  readonly now: number;
  readonly listeners: Status['listeners'];
  readonly pidOf: PidOf;
  movedOf(worker: number): ConnectionCounts;
  examine(worker: number): Promise<{ readonly connections: number; readonly rssBytes: number | null } | null>;
}

/** Asks every worker how many connections it has; one that does not answer counts as unknown. */
export async function takeStatus(fleet: Fleet, around: StatusSources): Promise<Status> {
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
    reload: reloadStatus(fleet, now),
    previous: fleet.previous,
    lastReload: lastOutcome && {
      outcome: lastOutcome.outcome,
      generation: lastOutcome.generation,
      durationMs: Math.round(lastOutcome.durationMs),
      agoMs: Math.round(now - lastOutcome.endedAt),
      text: describeOutcome(lastOutcome, around.pidOf).text,
      connections: lastOutcome.outcome === 'committed' ? accountNow(fleet, lastOutcome.previous, around) : null,
    },
  };
}

function reloadStatus({ reload }: Fleet, now: number): Status['reload'] {
  const deadline = 'deadline' in reload ? reload.deadline : Number.POSITIVE_INFINITY;
  return {
    phase: reload.phase,
    generation: reload.phase === 'idle' ? null : reload.generation,
    deadlineInMs: deadline === Number.POSITIVE_INFINITY ? null : Math.max(0, Math.round(deadline - now)),
  };
}

/** The core learns what has moved only at the end of a drain. */
function accountNow(fleet: Fleet, generation: number, { movedOf }: StatusSources): ConnectionAccount {
  const workers = fleet.workers.map((worker) =>
    worker.phase === 'draining' ? { ...worker, account: { ...worker.account, moved: movedOf(worker.id) } } : worker,
  );
  return accountOf({ ...fleet, workers }, generation);
}

async function workerStatus(worker: Worker, { now, pidOf, movedOf, examine }: StatusSources): Promise<WorkerStatus> {
  const pid = pidOf(worker.id) ?? null; // it may end while it is asked
  const answer = await examine(worker.id);
  return {
    id: worker.id,
    index: worker.index,
    pid,
    generation: worker.generation,
    phase: worker.phase,
    uptimeMs: Math.round(now - worker.spawnedAt),
    connections: answer?.connections ?? null,
    rssBytes: answer?.rssBytes ?? null,
    ailment: worker.phase === 'serving' && worker.ailment ? describeFailure(worker.ailment) : null,
    moved: Object.values(movedOf(worker.id)).reduce((sum, count) => sum + count, 0),
    deadlineInMs: 'deadline' in worker ? Math.max(0, Math.round(worker.deadline - now)) : null,
  };
}
