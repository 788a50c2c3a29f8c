/** The end of a worker: told to drain, by itself, or since it could not take its place. PURE. */
import { nothing } from './account.ts';
import type { ConnectionCounts, Exit, Failure, Policy, WorkerEvent } from './event.ts';
import {
  type Admitted,
  type Draining,
  type Happening,
  identity,
  isGone,
  type Ready,
  report,
  type Serving,
  type Starting,
  type Stopped,
  type Unfit,
  type Worker,
  type WorkerStep,
} from './worker-state.ts';

/** A worker closes what is left at its drain timeout by itself; so long the master waits for its account of it. */
const CUT_ALLOWANCE_MS = 2000;

/** SIGKILL can't be refused, but a process in an uninterruptible sleep takes it late: asked again so often. */
const KILL_AGAIN_MS = 1000;

/** A blocked worker has been waited for already, and so have its clients: so long, at most, it may take to hear that it is to drain, and then SIGTERM. */
const DEAF_MS = 5000;

/** Tells a worker to drain. One that has nothing to drain, or does not hear it, gets no longer than the kill timeout for it. */
export function drain(worker: Worker, now: number, policy: Policy): WorkerStep {
  if (worker.phase === 'draining' || worker.phase === 'unfit' || isGone(worker)) return [worker];
  const isIdle = worker.phase === 'starting' && !worker.listening;
  const isBlocked = worker.phase === 'serving' && worker.ailment?.reason === 'blocked';
  const { idleGraceMs, drainTimeoutMs, killTimeoutMs, lingerMs } = policy;
  const timeoutMs = isBlocked ? deafMs(policy) : isIdle ? lingerMs + killTimeoutMs : drainTimeoutMs + CUT_ALLOWANCE_MS;
  return [
    { ...newlyDraining(worker, now, false), withdrew: false, ...(isBlocked && { isDeaf: true }), deadline: now + timeoutMs },
    report(worker, { type: 'worker-draining', byItself: false }),
    { type: 'drain', worker: worker.id, times: { idleGraceMs, drainTimeoutMs, killTimeoutMs, lingerMs } },
  ];
}

/** Ends a draining worker before its deadline: SIGTERM makes it close what is open and end. */
export function cut(worker: Draining, now: number, policy: Policy): WorkerStep {
  return worker.next === 'SIGTERM' ? escalate(worker, now, policy) : [worker];
}

/** A worker that was not told to end has ended as it was meant to. */
export function complete(worker: Worker, exit: Exit, moved: ConnectionCounts): Stopped {
  const account = worker.phase === 'draining' ? worker.account : nothing;
  return { ...identity(worker), phase: 'stopped', exit, account: { ...account, moved } };
}

/** What it was left with the first time stands. */
function settle(worker: Draining, { moved, open, stayed = {} }: Extract<WorkerEvent, { type: 'worker-settled' }>): WorkerStep {
  const settled = { ...worker, open: worker.open ?? open, account: { ...worker.account, moved } };
  if (worker.open !== null || Object.keys(stayed).length === 0) return [settled];
  return [{ ...settled, stayed }, report(worker, { type: 'worker-kept', stayed })];
}

/** From the moment when it is to accept no more, until its process ends. */
export function whileDraining(worker: Draining, event: Happening, policy: Policy): WorkerStep {
  switch (event.type) {
    case 'worker-withdrew':
      return [{ ...worker, withdrew: true }];
    case 'worker-disconnected':
      return [{ ...worker, withdrew: true, open: worker.open ?? 0 }];
    case 'worker-supplanted':
      return supplanted(worker, event.now, policy);
    case 'worker-settled':
      return settle(worker, event);
    case 'worker-drained': {
      if (worker.drained) return [worker];
      const { moved, closed, cut } = event;
      const account = { moved, closed, cut };
      const told = report(worker, { type: 'worker-drained', afterMs: event.now - worker.since, ...account });
      // it lingers, or its SIGTERM listeners run now and have the kill timeout to end it
      const deadline = event.now + policy.lingerMs + policy.killTimeoutMs;
      return [{ ...worker, withdrew: true, open: 0, drained: true, account, next: 'SIGKILL', deadline }, told];
    }
    case 'tick': {
      if (event.now < worker.deadline) return [worker];
      // before anything else it says that it has withdrawn: who has not is blocked
      return escalate(worker.withdrew ? worker : { ...worker, isDeaf: true }, event.now, policy);
    }
    default:
      return [worker];
  }
}

/** What a worker says, or its channel, when it accepts no more. */
type Withdrawal = WorkerEvent & { readonly type: 'worker-withdrew' | 'worker-disconnected' };

/** It accepts no more, though nobody told it to. */
export function hasWithdrawn(event: Happening): event is Withdrawal {
  return event.type === 'worker-withdrew' || event.type === 'worker-disconnected';
}

/** It drains by itself. */
export function withdrawn(worker: Starting | Ready | Admitted | Serving, { type, now }: Withdrawal, policy: Policy): WorkerStep {
  const deadline = now + policy.drainTimeoutMs + CUT_ALLOWANCE_MS;
  const open = type === 'worker-disconnected' ? 0 : null;
  return [{ ...newlyDraining(worker, now, true), withdrew: true, open, deadline }, report(worker, { type: 'worker-draining', byItself: true })];
}

function newlyDraining(worker: Starting | Ready | Admitted | Serving, now: number, byItself: boolean): Omit<Draining, 'withdrew' | 'deadline'> {
  return { ...identity(worker), phase: 'draining', since: now, byItself, open: null, drained: false, account: nothing, next: 'SIGTERM' };
}

/** It is ended before it counts. */
export function unfit(worker: Starting | Ready | Admitted | Serving, failure: Failure, now: number, policy: Policy): WorkerStep {
  const judged: Unfit = { ...identity(worker), phase: 'unfit', failure, next: 'SIGKILL', deadline: now + policy.killTimeoutMs };
  return [judged, report(worker, { type: 'worker-unfit', failure }), { type: 'signal', worker: worker.id, signal: 'SIGTERM' }];
}

/** It finishes nothing any more. */
function supplanted(worker: Draining, now: number, policy: Policy): WorkerStep {
  const ending: Draining = { ...worker, withdrew: true, open: worker.open ?? 0, next: 'SIGKILL', deadline: now + policy.killTimeoutMs };
  return [ending, report(worker, { type: 'worker-unfit', failure: { reason: 'supplanted' } }), { type: 'signal', worker: worker.id, signal: 'SIGTERM' }];
}

/** It has taken too long: the next signal. */
export function escalate(worker: Draining | Unfit, now: number, policy: Policy): WorkerStep {
  const signal = worker.next;
  const patienceMs = 'isDeaf' in worker ? deafMs(policy) : policy.killTimeoutMs;
  const deadline = now + (signal === 'SIGTERM' ? patienceMs : KILL_AGAIN_MS);
  const told = report(worker, { type: 'worker-overran', signal });
  return [{ ...worker, next: 'SIGKILL', deadline }, told, { type: 'signal', worker: worker.id, signal }];
}

/** Its process has ended. */
export function exited(worker: Worker, exit: Exit, moved: ConnectionCounts): WorkerStep {
  if (isGone(worker)) return [worker];
  if (worker.phase === 'draining') {
    return [{ ...identity(worker), phase: 'stopped', exit, account: { ...worker.account, moved } }, report(worker, { type: 'worker-stopped', exit })];
  }
  const failure = worker.phase === 'unfit' ? worker.failure : exit;
  return [{ ...identity(worker), phase: 'crashed', failure }, report(worker, { type: 'worker-crashed', failure })];
}

function deafMs({ killTimeoutMs }: Policy): number {
  return Math.min(DEAF_MS, killTimeoutMs);
}
