/**
 * Workers + reload + what is wanted. PURE: step(fleet, event) → [fleet, ...effects].
 * The event changes one thing; what it cost is counted; then the rules look at the fleet as it is, whatever happened, in this order:
 * reload → nothing left to do → crash loops → stop → the dead → listeners → who is to be replaced, is missing, may go → too many draining →
 * queued requests → the end.
 */
import { addAccounts, nothing } from './account.ts';
import { noCrashes } from './backoff.ts';
import { completes, completionRule, endsByItself, isFalseStart, loopDeadline, loopRule, verdictOf } from './completion.ts';
import type { Effect, Outcome, Refusal } from './effect.ts';
import type { FleetEvent, Policy } from './event.ts';
import { countCrashes, missingWorkers, nextAgeDeadline, placesTaken, recycleRule, retireRule, wantedRule } from './places.ts';
import { abandon, areAlike, enqueue, MOST_QUEUED } from './queue.ts';
import type { Request } from './reload.ts';
import { requestScale, scaledPolicy, scaleRule } from './scale.ts';
import { accountOf, eachWorker, type Fleet, type FleetStep, isUncommitted, policyOf, report } from './state.ts';
import { abandonReloads, promote, reloadRule, resolved, rollBack, rolledBack, startReload } from './transaction.ts';
import { step as stepWorker } from './worker.ts';
import { complete, cut, drain } from './worker-end.ts';
import { type Draining, isGone, type Worker } from './worker-state.ts';

export type { Fleet, FleetStep } from './state.ts';

type Asked = { readonly request: number; readonly by: string; readonly now: number; readonly isAwaited?: boolean };
type Rule = (fleet: Fleet, now: number) => FleetStep;

const rules: readonly Rule[] = [
  reloadRule,
  completionRule,
  loopRule,
  stopRule,
  buryRule,
  closeRule,
  recycleRule,
  wantedRule,
  retireRule,
  scaleRule,
  capRule,
  queueRule,
  endRule,
];

/** A fleet without workers; the first `reload-requested` starts it. */
export function emptyFleet(policy: Policy): Fleet {
  return {
    phase: 'running',
    failure: null,
    isStopRequested: false,
    isForced: false,
    isClosed: false,
    policy,
    generation: 0,
    previous: 0,
    nextGeneration: 1,
    nextWorker: 1,
    workers: [],
    reload: { phase: 'idle' },
    queued: [],
    backoff: noCrashes,
    restarts: 0,
    completed: [],
    completedIndices: [],
    configured: policy.workers,
    scaling: null,
    accounts: {},
    listening: [],
    lastOutcome: null,
  };
}

/** The fleet after an event, and what is to be done. */
export function step(fleet: Fleet, event: FleetEvent): FleetStep {
  if (fleet.phase === 'ended') return [fleet];
  const before = generationsOf(fleet);
  const [settled, ...effects] = inTurn(countLosses(fleet, apply(fleet, event), event), event.now);
  const after = generationsOf(settled);
  if (settled.phase !== 'ended' && before.some((generation) => !after.includes(generation))) {
    effects.push({ type: 'forget-others', generations: after });
  }
  return [settled, ...effects];
}

/** When the fleet wants to be asked again, in the clock of the events; Infinity: not before something happens. */
export function nextDeadline(fleet: Fleet): number {
  const deadlines = fleet.workers.flatMap((worker) => ('deadline' in worker ? [worker.deadline] : []));
  for (const worker of fleet.workers) if (worker.phase === 'starting' && worker.askAt !== null) deadlines.push(worker.askAt);
  if (fleet.reload.phase === 'proving') deadlines.push(fleet.reload.deadline);
  if (fleet.reload.phase === 'holding') deadlines.push(fleet.reload.deadline);
  if (missingWorkers(fleet) > 0) deadlines.push(fleet.backoff.nextStartAt);
  deadlines.push(...fleet.workers.flatMap((worker) => (worker.phase === 'serving' ? [worker.settlesAt] : [])));
  deadlines.push(loopDeadline(fleet), nextAgeDeadline(fleet));
  return Math.min(Number.POSITIVE_INFINITY, ...deadlines);
}

function apply(fleet: Fleet, event: FleetEvent): FleetStep {
  switch (event.type) {
    case 'reload-requested':
      return requestReload(
        fleet,
        { ...requestOf(event), ...(event.canary && { canary: event.canary }), ...(event.allowsAddressChange && { allowsAddressChange: true }) },
        event.now,
      );
    case 'promote-requested':
      return requestPromotion(fleet, event);
    case 'rollback-requested':
      return requestRollback(fleet, event);
    case 'scale-requested':
      return requestScale(fleet, event);
    case 'release-resolved':
      return fleet.reload.phase === 'resolving' && fleet.reload.generation === event.generation
        ? resolved(fleet, fleet.reload, scaledPolicy(fleet, event.policy), event)
        : [fleet];
    case 'release-rejected':
      return fleet.reload.phase === 'resolving' && fleet.reload.generation === event.generation
        ? rollBack(fleet, fleet.reload, { reason: 'release-rejected', error: event.error }, null, event.now)
        : [fleet];
    case 'caller-left':
      return [{ ...fleet, queued: abandon(fleet.queued, event.request) }];
    case 'stop-requested':
      return requestStop(fleet, event.by);
    case 'tick':
      return eachWorker(fleet, (worker) => stepWorker(worker, event, policyOf(fleet, worker)));
    case 'worker-exited':
      return workerExited(fleet, event);
    case 'worker-listening':
      return listens(fleet, event);
    default:
      return eachWorker(fleet, (worker) => (worker.id === event.worker ? stepWorker(worker, event, policyOf(fleet, worker)) : [worker]));
  }
}

function requestOf({ request, by, isAwaited = false }: Asked): Request {
  return { id: request, by, isAwaited };
}

function requestReload(fleet: Fleet, request: Request, now: number): FleetStep {
  if (fleet.phase !== 'running') {
    const outcome: Outcome = { ...rolledBack(fleet, { reason: 'stopping' }, null), generation: fleet.generation, requests: [request.id], durationMs: 0 };
    return [fleet, report({ type: 'reload-finished', ...outcome })];
  }
  if (fleet.reload.phase === 'idle') return startReload(fleet, [request], now);
  if (fleet.queued.length >= MOST_QUEUED) return refuse(fleet, request.id, request.by, 'too-many-wait');
  const isHeld = fleet.reload.phase === 'holding';
  return [{ ...fleet, queued: enqueue(fleet.queued, request) }, report({ type: 'reload-queued', request: request.id, by: request.by, isHeld })];
}

function requestPromotion(fleet: Fleet, asked: Asked): FleetStep {
  const { request, by } = asked;
  const { reload } = fleet;
  if (reload.phase !== 'holding') return refuse(fleet, request, by, fleet.phase === 'running' ? 'no-canary' : 'stopping');
  return promote(fleet, { ...reload, requests: [...reload.requests, requestOf(asked)] }, by);
}

/** Whoever waits for a reload is answered as well: code that is not wanted must not come in by the queue. */
function requestRollback(fleet: Fleet, asked: Asked & { readonly isForced?: boolean }): FleetStep {
  const { request, by, now, isForced } = asked;
  const { reload, queued, previous, lastOutcome } = fleet;
  if (fleet.phase !== 'running') return refuse(fleet, request, by, 'stopping');
  if (fleet.generation > 0 && isUncommitted(reload)) {
    const requests = [...reload.requests, ...queued, requestOf(asked)];
    return rollBack({ ...fleet, queued: [] }, { ...reload, requests }, { reason: 'asked', by }, null, now);
  }
  if (!isForced && reload.phase === 'idle' && lastOutcome?.outcome === 'rolled-back') return refuse(fleet, request, by, 'already-rolled-back');
  if (previous === 0) return refuse(fleet, request, by, 'nothing-to-roll-back');
  const overtaken = queued.filter(({ from }) => from === undefined);
  const refusals = overtaken.map((other) => report({ type: 'request-refused', request: other.id, by: other.by, reason: 'overtaken' }));
  const rollbacks = queued.filter(({ from }) => from !== undefined);
  const [next, ...effects] = requestReload({ ...fleet, queued: rollbacks }, { ...requestOf(asked), from: previous }, now);
  return [next, ...refusals, ...effects];
}

function refuse(fleet: Fleet, request: number, by: string, reason: Refusal): FleetStep {
  return [fleet, report({ type: 'request-refused', request, by, reason })];
}

/** It holds of its whole generation. */
function listens(fleet: Fleet, event: FleetEvent & { type: 'worker-listening' }): FleetStep {
  const generation = fleet.workers.find(({ id }) => id === event.worker)?.generation;
  const listening = generation === undefined || fleet.listening.includes(generation) ? fleet.listening : [...fleet.listening, generation];
  return eachWorker({ ...fleet, listening }, (worker) => {
    if (worker.id === event.worker) return stepWorker(worker, event, policyOf(fleet, worker));
    return worker.phase === 'starting' && worker.generation === generation && worker.askAt !== null ? [{ ...worker, askAt: null }] : [worker];
  });
}

/** A worker that ended by itself may have completed what it is for. */
function workerExited(fleet: Fleet, event: FleetEvent & { type: 'worker-exited' }): FleetStep {
  const worker = fleet.workers.find(({ id }) => id === event.worker);
  const isFirst = fleet.generation === 0 && 'policy' in fleet.reload;
  const counts = worker !== undefined && endsByItself(worker) && (isFirst || worker.generation === fleet.generation);
  const step = (other: Worker) => (other.id === event.worker ? stepWorker(other, event, policyOf(fleet, other)) : ([other] as const));
  if (worker === undefined || fleet.phase !== 'running') return eachWorker(fleet, step);
  if (!counts || !completes(event.exit, policyOf(fleet, worker).restart)) {
    const [next, ...effects] = eachWorker(fleet, step);
    return isFalseStart(fleet, worker, event.now) ? falseStart(next, worker, event, effects) : [next, ...effects];
  }
  const told = report({ type: 'worker-completed', worker: worker.id, generation: worker.generation, exit: event.exit });
  const ended = fleet.workers.map((other) => (other === worker ? complete(worker, event.exit, event.moved) : other));
  // in a first generation it would pass for one that failed
  const workers = isFirst ? fleet.workers.filter((other) => other !== worker) : ended;
  return [{ ...fleet, workers, completed: [...fleet.completed, event.exit], completedIndices: [...fleet.completedIndices, worker.index] }, told];
}

function falseStart(
  fleet: Fleet,
  { id, generation, spawnedAt }: Worker,
  { exit, now }: FleetEvent & { type: 'worker-exited' },
  effects: readonly Effect[],
): FleetStep {
  const told = report({ type: 'start-failed', generation, worker: id, failure: exit, afterMs: now - spawnedAt });
  return [{ ...fleet, phase: 'stopping', failure: exit }, ...effects, told];
}

function requestStop(fleet: Fleet, by: string): FleetStep {
  if (fleet.isStopRequested) {
    const kills = fleet.workers.filter((worker) => !isGone(worker)).map(({ id }): Effect => ({ type: 'signal', worker: id, signal: 'SIGKILL' }));
    return [{ ...fleet, isForced: true }, report({ type: 'stopping-at-once', by }), ...kills];
  }
  return [{ ...fleet, phase: 'stopping', isStopRequested: true }, report({ type: 'stopping', by, workers: fleet.workers.length })];
}

/** Stopping wins over everything: the reload under way and the waiting ones are answered, every worker drains. */
function stopRule(fleet: Fleet, now: number): FleetStep {
  if (fleet.phase === 'running') return [fleet];
  const [halted, ...answers] = abandonReloads(fleet, now);
  const [draining, ...effects] = eachWorker(halted, (worker) => drain(worker, now, policyOf(halted, worker)));
  return [draining, ...answers, ...effects];
}

/**
 * A worker of the serving generation left its place without being told to: it crashed, proved unfit, or withdrew. That
 * delays the next start, whether or not its process has ended by now.
 */
function countLosses(before: Fleet, [after, ...effects]: FleetStep, event: FleetEvent): FleetStep {
  const wanted = placesTaken(after).map(({ id }) => id);
  const lost = placesTaken(before).filter(({ id }) => !wanted.includes(id));
  const hasCompleted = after.completed.length > before.completed.length;
  if (lost.length === 0 || hasCompleted || after.phase !== 'running') return [after, ...effects];
  const [next, ...told] = countCrashes(after, lost.length, event.now, event.type === 'worker-exited' ? event.chance : 0.5);
  return [next, ...effects, ...told];
}

/** The dead are forgotten, but not what became of their connections. */
function buryRule(fleet: Fleet): FleetStep {
  const dead = fleet.workers.filter(isGone);
  if (dead.length === 0) return [fleet];
  const buried = { ...fleet, workers: fleet.workers.filter((worker) => !isGone(worker)), accounts: accountsAfter(fleet, dead) };
  const gone = [...new Set(dead.map(({ generation }) => generation))].filter(
    (generation) => generation < fleet.generation && !buried.workers.some((worker) => worker.generation === generation),
  );
  return [buried, ...gone.map((generation) => report({ type: 'generation-gone', generation, ...accountOf(buried, generation) }))];
}

/** An account is kept while its generation has workers, makes way, or is the one that made way last. */
function accountsAfter({ accounts, workers, generation, reload, lastOutcome }: Fleet, dead: readonly Worker[]): Fleet['accounts'] {
  const sums = { ...accounts };
  for (const worker of dead) if ('account' in worker) sums[worker.generation] = addAccounts(sums[worker.generation] ?? nothing, worker.account);
  const kept = [generation, 'previous' in reload ? reload.previous : undefined, lastOutcome?.previous, ...workers.map((worker) => worker.generation)];
  return Object.fromEntries(Object.entries(sums).filter(([of]) => kept.includes(Number(of))));
}

/** A socket that nobody will serve any more must not go on queueing connections. */
function closeRule(fleet: Fleet): FleetStep {
  const mayAccept = fleet.workers.some((worker) => worker.phase === 'draining' && !worker.withdrew);
  return fleet.phase !== 'stopping' || fleet.isClosed || mayAccept ? [fleet] : [{ ...fleet, isClosed: true }, { type: 'close-listeners' }];
}

/** Too many generations draining: the oldest is cut. */
function capRule(fleet: Fleet, now: number): FleetStep {
  const open = fleet.workers.filter(
    (worker): worker is Draining => worker.phase === 'draining' && worker.next === 'SIGTERM' && worker.generation < fleet.generation,
  );
  const generations = [...new Set(open.map(({ generation }) => generation))].sort((a, b) => a - b);
  const doomed = generations.slice(0, Math.max(0, generations.length - fleet.policy.maxDraining));
  if (doomed.length === 0) return [fleet];
  const told = doomed.map((generation) => report({ type: 'generation-cut', generation, maxDraining: fleet.policy.maxDraining }));
  const [next, ...effects] = eachWorker(fleet, (worker) =>
    worker.phase === 'draining' && doomed.includes(worker.generation) ? cut(worker, now, fleet.policy) : [worker],
  );
  return [next, ...told, ...effects];
}

/** However many asked for the same during a reload, one more follows; who asked for something else, as the old code or a canary, comes after them. */
function queueRule(fleet: Fleet, now: number): FleetStep {
  const { queued } = fleet;
  if (fleet.phase !== 'running' || fleet.reload.phase !== 'idle' || queued.length === 0) return [fleet];
  const [first] = queued;
  const others = queued.findIndex((request) => !areAlike(request, first));
  const next = others === -1 ? queued : queued.slice(0, others);
  return startReload({ ...fleet, queued: queued.slice(next.length) }, next, now);
}

function endRule(fleet: Fleet): FleetStep {
  if (fleet.phase !== 'stopping' || fleet.workers.length > 0) return [fleet];
  return [
    { ...fleet, phase: 'ended' },
    { type: 'exit', failure: fleet.failure, forced: fleet.isForced, completed: verdictOf(fleet.completed) },
  ];
}

function inTurn([fleet, ...effects]: FleetStep, now: number): [Fleet, ...Effect[]] {
  let current = fleet;
  const all = [...effects];
  for (const rule of rules) {
    const [next, ...more] = rule(current, now);
    current = next;
    all.push(...more);
  }
  return [current, ...all];
}

/** Those that have workers, or are to have them. */
export function generationsOf(fleet: Fleet): number[] {
  const reloading = fleet.reload.phase === 'idle' ? [] : [fleet.reload.generation];
  return [...new Set([...fleet.workers.map(({ generation }) => generation), ...reloading, fleet.generation])].sort((a, b) => a - b);
}
