/**
 * A world for the fleet to act upon: it takes effects, and knows what may plausibly come of them. Nothing here decides what
 * happens next; a test does, at random or by the rule that everything goes well.
 */
import type { Effect } from '../../../src/core/effect.ts';
import type { ConnectionCounts, FleetEvent, Happening, Policy } from '../../../src/core/event.ts';
import { emptyFleet, type Fleet, nextDeadline, step } from '../../../src/core/fleet.ts';
import { nextAgeDeadline } from '../../../src/core/places.ts';
import type { Command } from './story.ts';
import { boom, codeOne, codeZero, unhealthy } from './worker-events.ts';

/** A process as the world knows it: what it did, and what it was told. */
interface Process {
  readonly id: number;
  isReady: boolean;
  isAdmitting: boolean;
  isServing: boolean;
  /** It hears nothing, and does nothing, until it is killed. */
  isBlocked: boolean;
  isDraining: boolean;
  hasWithdrawn: boolean;
  hasSettled: boolean;
  /** It can say nothing any more, and be told nothing. */
  isDisconnected: boolean;
  /** What it has handed over, as was told last. */
  moved: ConnectionCounts;
  signal: 'SIGTERM' | 'SIGKILL' | null;
}

/** What is to be checked after every step. */
export type Watch = (before: Fleet, event: FleetEvent, after: Fleet, effects: readonly Effect[]) => void;

export class World {
  fleet: Fleet;
  now = 0;
  readonly processes: Map<number, Process> = new Map();
  /** Generations that wait for their release. */
  readonly resolving: Set<number> = new Set();
  readonly #watch: Watch;
  #lastRequest = 0;

  constructor(policy: Policy, watch: Watch) {
    this.fleet = emptyFleet(policy);
    this.#watch = watch;
  }

  tell(happening: Happening): readonly Effect[] {
    const event = { ...happening, now: this.now } as FleetEvent;
    const before = this.fleet;
    const [fleet, ...effects] = step(before, event);
    this.fleet = fleet;
    this.#believe(event);
    this.#watch(before, event, fleet, effects);
    for (const effect of effects) this.#perform(effect);
    return effects;
  }

  /** Somebody asks for something. */
  ask(command: Command): void {
    this.tell({ ...command, request: ++this.#lastRequest, by: 'world', isAwaited: true });
  }

  reload(): void {
    this.ask({ type: 'reload-requested' });
  }

  tick(now: number): readonly Effect[] {
    this.now = Math.max(this.now, now);
    return this.tell({ type: 'tick' });
  }

  /** All that may come of what was asked for so far, good and bad. */
  plausible(policies: readonly Policy[]): Happening[] {
    const releases = [...this.resolving].flatMap((generation): Happening[] => [
      ...policies.map((policy): Happening => ({ type: 'release-resolved', generation, policy, dropped: [] })),
      { type: 'release-rejected', generation, error: boom },
    ]);
    return [...releases, ...[...this.processes.values()].flatMap(mayDo)];
  }

  /** What comes of what was asked for so far if everything goes as it should. */
  due(policy: Policy): Happening[] {
    const releases = [...this.resolving].map((generation): Happening => ({ type: 'release-resolved', generation, policy, dropped: [] }));
    return [...releases, ...[...this.processes.values()].flatMap(shouldDo)];
  }

  /** All of that happens, and no more. @returns false if there was nothing */
  goWell(policy: Policy): boolean {
    const happenings = this.due(policy);
    for (const happening of happenings) this.tell(happening);
    return happenings.length > 0;
  }

  /**
   * Goes on well, and lets time pass where something waits for it, until nothing is left to do but to wait for somebody's age. A
   * canary that is held without an end is promoted.
   */
  settle(policy: Policy): void {
    for (let round = 0; round < 1000; round++) {
      if (this.goWell(policy)) continue;
      const deadline = nextDeadline(this.fleet);
      const { phase, reload } = this.fleet;
      if (phase === 'ended' || isAtRest(this.fleet)) return;
      if (reload.phase === 'holding' && reload.deadline === Number.POSITIVE_INFINITY) this.ask({ type: 'promote-requested' });
      else if (deadline === Number.POSITIVE_INFINITY) return;
      else this.tick(deadline);
    }
    throw new Error('the fleet does not come to rest');
  }

  #believe(event: FleetEvent): void {
    if (event.type === 'worker-exited') this.processes.delete(event.worker);
    if (event.type === 'release-resolved' || event.type === 'release-rejected') this.resolving.delete(event.generation);
    const told = 'worker' in event ? this.processes.get(event.worker) : undefined;
    if (told === undefined) return;
    if (event.type === 'worker-ready') told.isReady = true;
    if (event.type === 'worker-withdrew') told.hasWithdrawn = true;
    if (event.type === 'worker-settled') told.hasSettled = true;
    if (event.type === 'worker-disconnected' || event.type === 'worker-supplanted') told.isDisconnected = true;
    if ('moved' in event) told.moved = event.moved;
    if (event.type === 'worker-blocked') told.isBlocked = true;
    if (event.type !== 'worker-admitted') return;
    told.isAdmitting = false;
    told.isServing = true;
  }

  #perform(effect: Effect): void {
    if (effect.type === 'resolve') this.resolving.add(effect.generation);
    if (effect.type === 'spawn') this.processes.set(effect.worker, born(effect.worker));
    const told = 'worker' in effect ? this.processes.get(effect.worker) : undefined;
    if (told === undefined) return;
    if (effect.type === 'admit') told.isAdmitting = true;
    if (effect.type === 'drain') told.isDraining = true;
    if (effect.type === 'signal') told.signal = effect.signal;
  }
}

/** Nothing is on its way, and nobody leaves; all that is waited for is that somebody grows too old. */
function isAtRest(fleet: Fleet): boolean {
  return Number.isFinite(nextAgeDeadline(fleet)) && fleet.reload.phase === 'idle' && fleet.workers.every(({ phase }) => phase === 'serving');
}

function born(id: number): Process {
  const nothing = { isReady: false, isAdmitting: false, isServing: false, isBlocked: false, isDraining: false, hasWithdrawn: false, hasSettled: false };
  return { ...nothing, id, isDisconnected: false, moved: {}, signal: null };
}

function mayDo(process: Process): Happening[] {
  const { id: worker, isDisconnected, isReady, isAdmitting, isDraining, hasWithdrawn, moved } = process;
  const ends: Happening[] = [
    { type: 'worker-exited', worker, exit: codeOne, chance: 0.5, moved },
    { type: 'worker-exited', worker, exit: codeZero, chance: 0.1, moved },
  ];
  if (isDisconnected) return isDraining || hasWithdrawn ? [...ends, killedWhileItHandsOver(process)] : ends;
  return [
    ...ends,
    { type: 'worker-withdrew', worker },
    { type: 'worker-disconnected', worker },
    { type: 'worker-supplanted', worker },
    ...(isReady ? [] : onItsWay(worker)),
    ...(isAdmitting ? accepting(worker) : []),
    ...(process.isServing && !process.isBlocked ? watched(worker) : []),
    ...(isDraining ? [drained(process), drained(process)] : []),
    ...(hasWithdrawn ? [settled(process), settled(process), killedWhileItHandsOver(process)] : []),
  ];
}

function onItsWay(worker: number): Happening[] {
  return [
    ...Array.from({ length: 4 }, (): Happening => ({ type: 'worker-ready', worker })),
    { type: 'worker-listening', worker, isListening: true },
    { type: 'worker-listening', worker, isListening: false },
    { type: 'worker-addresses', worker, addresses: ['127.0.0.1:80'] },
    { type: 'worker-asked', worker },
    { type: 'worker-answered', worker },
    { type: 'worker-preflight-failed', worker, failure: unhealthy },
  ];
}

function accepting(worker: number): Happening[] {
  return [...Array.from({ length: 4 }, (): Happening => ({ type: 'worker-admitted', worker })), { type: 'worker-admit-failed', worker, error: boom }];
}

/** What is seen of a worker that serves. */
function watched(worker: number): Happening[] {
  return [
    ...Array.from({ length: 4 }, (): Happening => ({ type: 'worker-checked', worker, failure: unhealthy })),
    { type: 'worker-checked', worker, failure: null },
    { type: 'worker-measured', worker, rssBytes: 2000 },
    { type: 'worker-measured', worker, rssBytes: 3000 },
    { type: 'worker-measured', worker, rssBytes: 10 },
    { type: 'worker-blocked', worker, timeoutMs: 100 },
  ];
}

function shouldDo(process: Process): Happening[] {
  const { id: worker, isReady, isAdmitting, isDraining, hasWithdrawn, hasSettled, isDisconnected, signal } = process;
  const end: Happening = { type: 'worker-exited', worker, exit: codeZero, chance: 0.5, moved: process.moved };
  if (process.isBlocked && signal !== 'SIGKILL') return [];
  if (signal !== null) return [{ ...end, exit: { reason: 'signal', signal } }];
  if (isDisconnected) return [end];
  if (isDraining && !hasWithdrawn) return [{ type: 'worker-withdrew', worker }];
  if (hasWithdrawn && !hasSettled) return [settled(process)];
  if (isDraining || hasWithdrawn) return [drained(process), { ...end, moved: moreOf(process, 'tcp') }];
  // it listens where any other might have
  if (!isReady)
    return [
      { type: 'worker-addresses', worker, addresses: ['127.0.0.1:80'] },
      { type: 'worker-ready', worker },
    ];
  return isAdmitting ? [{ type: 'worker-admitted', worker }] : [];
}

function settled(process: Process): Happening {
  return { type: 'worker-settled', worker: process.id, moved: moreOf(process, 'http', 2), open: 1 };
}

function drained(process: Process): Happening {
  return { type: 'worker-drained', worker: process.id, moved: moreOf(process, 'tcp'), closed: { http: 1 }, cut: { websocket: 1 } };
}

/** More has moved than it could tell. */
function killedWhileItHandsOver(process: Process): Happening {
  return { type: 'worker-exited', worker: process.id, exit: { reason: 'signal', signal: 'SIGKILL' }, chance: 0.5, moved: moreOf(process, 'websocket') };
}

/** What a process has handed over when it has handed over some more of a kind. */
function moreOf({ moved }: Process, kind: string, count = 1): ConnectionCounts {
  return { ...moved, [kind]: (moved[kind] ?? 0) + count };
}
