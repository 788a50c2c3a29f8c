/**
 * One worker's life. PURE.
 *
 *   starting ─ready→ ready ─admit→ admitted ─accepts→ serving ─drain→ draining ─exit→ stopped
 *      └──────────── took too long, could not accept ──────→ unfit ─exit→ crashed ←─ any other exit
 *
 * A worker that is `ready` can serve but does not accept yet: nothing it does can reach a client.
 */
import type { Ailment, Policy } from './event.ts';
import { escalate, exited, hasWithdrawn, unfit, whileDraining, withdrawn } from './worker-end.ts';
import { whileStarting } from './worker-start.ts';
import {
  type Admitted,
  type Happening,
  hasSettled,
  identity,
  isWanted,
  type Ready,
  report,
  type Serving,
  type Worker,
  type WorkerStep,
} from './worker-state.ts';

/** The worker after an event; whatever comes late or twice changes nothing. */
export function step(worker: Worker, event: Happening, policy: Policy): WorkerStep {
  if (event.type === 'worker-exited') return exited(worker, event.exit, event.moved);
  if (event.type === 'worker-supplanted' && isWanted(worker)) return unfit(worker, { reason: 'supplanted' }, event.now, policy);
  if (event.type === 'worker-addresses') return [{ ...worker, addresses: addressesAfter(worker, event.addresses) }];
  switch (worker.phase) {
    case 'starting':
      return whileStarting(worker, event, policy);
    case 'ready':
      return hasWithdrawn(event) ? withdrawn(worker, event, policy) : [worker];
    case 'admitted':
      return whileAdmitted(worker, event, policy);
    case 'serving':
      return whileServing(worker, event, policy);
    case 'draining':
      return whileDraining(worker, event, policy);
    case 'unfit':
      return event.type === 'tick' && event.now >= worker.deadline ? escalate(worker, event.now, policy) : [worker];
    case 'stopped':
    case 'crashed':
      return [worker]; // the process is gone: a late event changes nothing
  }
}

/** Lets a ready worker accept. */
export function admit(worker: Ready, now: number, policy: Policy): WorkerStep {
  return [
    { ...identity(worker), phase: 'admitted', ...(worker.isJob && { isJob: worker.isJob }), deadline: now + policy.readyTimeoutMs },
    { type: 'admit', worker: worker.id },
  ];
}

/** Gives a worker a reason to be replaced, unless it has one. */
export function ail(worker: Serving, ailment: Ailment): WorkerStep {
  return worker.ailment === null ? [{ ...worker, ailment }, report(worker, { type: 'worker-ailing', ailment })] : [worker];
}

function whileAdmitted(worker: Admitted, event: Happening, policy: Policy): WorkerStep {
  switch (event.type) {
    case 'worker-admitted':
      return serve(worker, event.now, policy);
    case 'worker-admit-failed':
      return unfit(worker, { reason: 'admit-failed', error: event.error }, event.now, policy);
    case 'worker-withdrew':
    case 'worker-disconnected':
      return withdrawn(worker, event, policy);
    case 'tick': {
      if (event.now < worker.deadline) return [worker];
      if (worker.isJob) return serve(worker, event.now, policy);
      return unfit(worker, { reason: 'ready-timeout', timeoutMs: policy.readyTimeoutMs, listening: true }, event.now, policy);
    }
    default:
      return [worker];
  }
}

function serve(worker: Admitted, since: number, { settleMs }: Policy): WorkerStep {
  const fresh = { settlesAt: settleMs === 0 ? Number.POSITIVE_INFINITY : since + settleMs, ailment: null, strikes: 0, checkFailure: null, rssBytes: 0 };
  return [{ ...identity(worker), phase: 'serving', since, ...(worker.isJob && { isJob: worker.isJob }), ...fresh }, report(worker, { type: 'worker-serving' })];
}

function whileServing(worker: Serving, event: Happening, policy: Policy): WorkerStep {
  switch (event.type) {
    case 'worker-listening': {
      const { isJob, ...server } = worker;
      return isJob ? [server, report(worker, { type: 'worker-listens' })] : [worker];
    }
    case 'worker-preflight-failed': // of one that listens only now: until it passes nothing is accepted
      return [worker, report(worker, { type: 'worker-preflight-failed', failure: event.failure })];
    case 'worker-withdrew':
    case 'worker-disconnected':
      return withdrawn(worker, event, policy);
    case 'tick':
      return event.now >= worker.settlesAt ? [{ ...worker, settlesAt: Number.POSITIVE_INFINITY }] : [worker];
    case 'worker-measured':
      return [{ ...worker, rssBytes: event.rssBytes }];
    case 'worker-blocked':
      return ail(worker, { reason: 'blocked', timeoutMs: event.timeoutMs });
    case 'worker-checked': {
      const { failure } = event;
      if (failure === null) return [{ ...worker, strikes: 0, checkFailure: null, isHealthy: true }];
      const strikes = worker.strikes + 1;
      const told = report(worker, { type: 'worker-check-failed', failure, strikes });
      const judged: Serving = { ...worker, strikes, checkFailure: failure };
      if (strikes < policy.healthFailures) return [judged, told];
      const [ailing, ...more] = ail(judged, { reason: 'unhealthy', ...failure });
      return [ailing, told, ...more];
    }
    default:
      return [worker];
  }
}

/** What is closed is gone at any time; what is opened counts until the worker has settled. */
function addressesAfter(worker: Worker, addresses: readonly string[]): readonly string[] {
  const mayStillCome = worker.phase === 'starting' || worker.phase === 'ready' || worker.phase === 'admitted' || !hasSettled(worker);
  return mayStillCome ? addresses : worker.addresses.filter((address) => addresses.includes(address));
}
