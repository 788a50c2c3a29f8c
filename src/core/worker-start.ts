/** The start of a worker: what makes it ready, and what it is if it never gets so far. PURE. */
import type { Failure, HealthFailure, Policy } from './event.ts';
import { unfit, withdrawn } from './worker-end.ts';
import { type Happening, type Identity, identity, report, type Starting, type WorkerStep } from './worker-state.ts';

/** A new worker. `quietMs`: one that has lived for so long and has not asked for a listener is a program that listens nowhere; null: it is to listen. */
export function spawn(who: Pick<Identity, 'id' | 'generation' | 'index'>, now: number, policy: Policy, quietMs: number | null = null): WorkerStep {
  const askAt = quietMs === null ? null : now + quietMs;
  const worker: Starting = { phase: 'starting', ...who, spawnedAt: now, addresses: [], listening: false, askAt, deadline: now + policy.readyTimeoutMs };
  return [worker, { type: 'spawn', worker: who.id, generation: who.generation, index: who.index }, report(worker, { type: 'worker-spawned' })];
}

/** From its spawn until it is ready. */
export function whileStarting(worker: Starting, event: Happening, policy: Policy): WorkerStep {
  switch (event.type) {
    case 'worker-listening':
      return [{ ...worker, listening: event.isListening }];
    case 'worker-asked':
      return [{ ...asNotAsked(worker), askAt: null }];
    case 'worker-answered':
      return worker.isAsked ? becomeReady(worker, event.now, true) : [worker];
    case 'worker-preflight-failed':
      return unhealthy(worker, event.failure);
    case 'worker-ready':
      return becomeReady(worker, event.now);
    case 'worker-disconnected':
      // a process that ends closes its channel first, and how it ends says more
      return worker.listening ? withdrawn(worker, event, policy) : [{ ...asNotAsked(worker), askAt: null }];
    case 'worker-withdrew':
      return withdrawn(worker, event, policy);
    case 'tick': {
      if (event.now < worker.deadline) return mayAsk(worker, event.now) ? ask(worker) : [worker];
      // a job need not listen: living for so long is as ready as it gets
      if (policy.restart !== 'always' && !worker.listening && worker.preflight === undefined) return becomeReady(worker, event.now, true);
      return unfit(worker, neverReady(worker, policy.readyTimeoutMs), event.now, policy);
    }
    default:
      return [worker];
  }
}

/** Who has neither asked for a listener nor waits for its preflight by now. */
function mayAsk({ askAt, listening, preflight }: Starting, now: number): boolean {
  return askAt !== null && now >= askAt && !listening && preflight === undefined;
}

function ask(worker: Starting): WorkerStep {
  return [
    { ...worker, askAt: null, isAsked: true },
    { type: 'ask', worker: worker.id },
  ];
}

function asNotAsked({ isAsked: _, ...worker }: Starting): Starting {
  return worker;
}

function becomeReady(worker: Starting, now: number, isJob = false): WorkerStep {
  return [{ ...identity(worker), phase: 'ready', ...(isJob && { isJob }) }, report(worker, { type: 'worker-ready', afterMs: now - worker.spawnedAt })];
}

/** The last failure is remembered; told is one of another kind than the last: bodies may hold times and counters. */
function unhealthy(worker: Starting, failure: HealthFailure): WorkerStep {
  const { request, status, error } = worker.preflight ?? {};
  const isKnown = request === failure.request && status === failure.status && (status !== undefined || error === failure.error);
  const next: Starting = { ...worker, preflight: failure };
  return isKnown ? [next] : [next, report(worker, { type: 'worker-preflight-failed', failure })];
}

function neverReady({ listening, preflight }: Starting, timeoutMs: number): Failure {
  return preflight === undefined ? { reason: 'ready-timeout', timeoutMs, listening } : { reason: 'preflight', timeoutMs, ...preflight };
}
