/**
 * One worker's life. PURE.
 *
 *   starting ─ready→ ready ─admit→ admitted ─accepts→ serving ─drain→ draining ─exit→ stopped
 *      └──────────── took too long, could not accept ──────→ unfit ─exit→ crashed ←─ any other exit
 *
 * A worker that is `ready` can serve but does not accept yet: nothing it does can reach a client.
 */
import { nothing } from './account.ts';
import type { Effect, Report } from './effect.ts';
import type { Ailment, ConnectionCounts, Exit, Failure, HealthFailure, Policy, WorkerEvent } from './event.ts';
import type { Admitted, Crashed, Draining, Identity, Ready, Serving, Starting, Stopped, Unfit, Worker } from './worker-state.ts';

export type { Admitted, Draining, Ready, Serving, Worker } from './worker-state.ts';

export type WorkerStep = readonly [Worker, ...Effect[]];
type Tick = { readonly type: 'tick'; readonly now: number };

/** A worker closes what is left at its drain timeout by itself; so long the master waits for its account of it. */
const CUT_ALLOWANCE_MS = 2000;
/** SIGKILL can't be refused, but a process in an uninterruptible sleep takes it late: asked again so often. */
const KILL_AGAIN_MS = 1000;
/** A blocked worker has been waited for already, and so have its clients: so long, at most, it may take to hear that it is to drain, and then SIGTERM. */
const DEAF_MS = 5000;

/** A new worker. `quietMs`: one that has lived for so long and has not asked for a listener is a program that listens nowhere; null: it is to listen. */
export function spawn(who: Pick<Identity, 'id' | 'generation' | 'index'>, now: number, policy: Policy, quietMs: number | null = null): WorkerStep {
  const askAt = quietMs === null ? null : now + quietMs;
  const worker: Starting = { phase: 'starting', ...who, spawnedAt: now, addresses: [], listening: false, askAt, deadline: now + policy.readyTimeoutMs };
  return [worker, { type: 'spawn', worker: who.id, generation: who.generation, index: who.index }, report(worker, { type: 'worker-spawned' })];
}

/** The worker after an event; whatever comes late or twice changes nothing. */
export function step(worker: Worker, event: WorkerEvent | Tick, policy: Policy): WorkerStep {
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

/** The process has ended. */
export function isGone(worker: Worker): worker is Stopped | Crashed {
  return worker.phase === 'stopped' || worker.phase === 'crashed';
}

/** A worker that was not told to end has ended as it was meant to. */
export function complete(worker: Worker, exit: Exit, moved: ConnectionCounts): Stopped {
  const account = worker.phase === 'draining' ? worker.account : nothing;
  return { ...identity(worker), phase: 'stopped', exit, account: { ...account, moved } };
}

/** Gives a worker a reason to be replaced, unless it has one. */
export function ail(worker: Serving, ailment: Ailment): WorkerStep {
  return worker.ailment === null ? [{ ...worker, ailment }, report(worker, { type: 'worker-ailing', ailment })] : [worker];
}

/** A worker that serves has come to listen wherever it means to. */
export function hasSettled(worker: Worker): boolean {
  return worker.phase !== 'serving' || worker.settlesAt === Number.POSITIVE_INFINITY;
}

/** Serves, or is on its way to. */
export function isWanted(worker: Worker): worker is Starting | Ready | Admitted | Serving {
  return worker.phase === 'starting' || worker.phase === 'ready' || worker.phase === 'admitted' || worker.phase === 'serving';
}

function whileStarting(worker: Starting, event: WorkerEvent | Tick, policy: Policy): WorkerStep {
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

function whileAdmitted(worker: Admitted, event: WorkerEvent | Tick, policy: Policy): WorkerStep {
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

function whileServing(worker: Serving, event: WorkerEvent | Tick, policy: Policy): WorkerStep {
  switch (event.type) {
    case 'worker-listening': {
      const { isJob, ...server } = worker;
      return isJob ? [server, report(worker, { type: 'worker-listens' })] : [worker];
    }
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

/** What it was left with the first time stands. */
function settle(worker: Draining, { moved, open, stayed = {} }: Extract<WorkerEvent, { type: 'worker-settled' }>): WorkerStep {
  const settled = { ...worker, open: worker.open ?? open, account: { ...worker.account, moved } };
  if (worker.open !== null || Object.keys(stayed).length === 0) return [settled];
  return [{ ...settled, stayed }, report(worker, { type: 'worker-kept', stayed })];
}

function whileDraining(worker: Draining, event: WorkerEvent | Tick, policy: Policy): WorkerStep {
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

type Withdrawal = WorkerEvent & { readonly type: 'worker-withdrew' | 'worker-disconnected' };

function hasWithdrawn(event: WorkerEvent | Tick): event is Withdrawal {
  return event.type === 'worker-withdrew' || event.type === 'worker-disconnected';
}

function withdrawn(worker: Starting | Ready | Admitted | Serving, { type, now }: Withdrawal, policy: Policy): WorkerStep {
  const deadline = now + policy.drainTimeoutMs + CUT_ALLOWANCE_MS;
  const open = type === 'worker-disconnected' ? 0 : null;
  return [{ ...newlyDraining(worker, now, true), withdrew: true, open, deadline }, report(worker, { type: 'worker-draining', byItself: true })];
}

function newlyDraining(worker: Starting | Ready | Admitted | Serving, now: number, byItself: boolean): Omit<Draining, 'withdrew' | 'deadline'> {
  return { ...identity(worker), phase: 'draining', since: now, byItself, open: null, drained: false, account: nothing, next: 'SIGTERM' };
}

function unfit(worker: Starting | Ready | Admitted | Serving, failure: Failure, now: number, policy: Policy): WorkerStep {
  const judged: Unfit = { ...identity(worker), phase: 'unfit', failure, next: 'SIGKILL', deadline: now + policy.killTimeoutMs };
  return [judged, report(worker, { type: 'worker-unfit', failure }), { type: 'signal', worker: worker.id, signal: 'SIGTERM' }];
}

/** It finishes nothing any more. */
function supplanted(worker: Draining, now: number, policy: Policy): WorkerStep {
  const ending: Draining = { ...worker, withdrew: true, open: worker.open ?? 0, next: 'SIGKILL', deadline: now + policy.killTimeoutMs };
  return [ending, report(worker, { type: 'worker-unfit', failure: { reason: 'supplanted' } }), { type: 'signal', worker: worker.id, signal: 'SIGTERM' }];
}

function escalate(worker: Draining | Unfit, now: number, policy: Policy): WorkerStep {
  const signal = worker.next;
  const patienceMs = 'isDeaf' in worker ? deafMs(policy) : policy.killTimeoutMs;
  const deadline = now + (signal === 'SIGTERM' ? patienceMs : KILL_AGAIN_MS);
  const told = report(worker, { type: 'worker-overran', signal });
  return [{ ...worker, next: 'SIGKILL', deadline }, told, { type: 'signal', worker: worker.id, signal }];
}

function exited(worker: Worker, exit: Exit, moved: ConnectionCounts): WorkerStep {
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

/** What is closed is gone at any time; what is opened counts until the worker has settled. */
function addressesAfter(worker: Worker, addresses: readonly string[]): readonly string[] {
  const mayStillCome = worker.phase === 'starting' || worker.phase === 'ready' || worker.phase === 'admitted' || !hasSettled(worker);
  return mayStillCome ? addresses : worker.addresses.filter((address) => addresses.includes(address));
}

function identity({ id, generation, index, spawnedAt, addresses }: Worker): Identity {
  return { id, generation, index, spawnedAt, addresses };
}

type WithoutWorker<R> = R extends { worker: number; generation: number } ? Omit<R, 'worker' | 'generation'> : never;

function report(worker: Identity, what: WithoutWorker<Report>): Effect {
  return { type: 'report', report: { ...what, worker: worker.id, generation: worker.generation } as Report };
}
