/** A fleet that is told what happens, one event at a time, on a clock that only the test moves. */
import type { Effect, Report } from '../../../src/core/effect.ts';
import type { Canary, ConnectionAccount, ConnectionCounts, FleetEvent, Happening, Policy, Scaling, Stays } from '../../../src/core/event.ts';
import { emptyFleet, type Fleet, nextDeadline, step } from '../../../src/core/fleet.ts';
import type { Worker } from '../../../src/core/worker-state.ts';
import { boom, codeOne } from './worker-events.ts';

/** What somebody asks for; who adds the number of the request. */
export type Command = Happening extends infer E ? (E extends { request: number; by: string } ? Omit<E, 'request' | 'by'> : never) : never;
export type ReportOf<T extends Report['type']> = Extract<Report, { type: T }>;

export class Story {
  readonly policy: Policy;
  fleet: Fleet;
  now = 0;
  /** What the last event led to. */
  effects: readonly Effect[] = [];
  #lastRequest = 0;
  /** What each worker said last of the connections it handed over. */
  readonly #moved = new Map<number, ConnectionCounts>();

  constructor(policy: Policy) {
    this.policy = policy;
    this.fleet = emptyFleet(policy);
  }

  tell(happening: Happening): readonly Effect[] {
    const [fleet, ...effects] = step(this.fleet, { ...happening, now: this.now } as FleetEvent);
    this.fleet = fleet;
    this.effects = effects;
    if ('moved' in happening) this.#moved.set(happening.worker, happening.moved);
    return effects;
  }

  /** A request, and its number. */
  ask(command: Command): number {
    this.tell({ ...command, request: ++this.#lastRequest, by: 'test', isAwaited: true });
    return this.#lastRequest;
  }

  reload(canary?: Canary): number {
    return this.ask({ type: 'reload-requested', ...(canary && { canary }) });
  }

  promote(): number {
    return this.ask({ type: 'promote-requested' });
  }

  rollBack(): number {
    return this.ask({ type: 'rollback-requested' });
  }

  scale(change: Scaling): number {
    return this.ask({ type: 'scale-requested', change });
  }

  stop(): readonly Effect[] {
    return this.tell({ type: 'stop-requested', by: 'test' });
  }

  resolve(policy: Policy = this.policy, dropped: readonly string[] = []): readonly Effect[] {
    return this.tell({ type: 'release-resolved', generation: this.fleet.nextGeneration - 1, policy, dropped });
  }

  reject(): readonly Effect[] {
    return this.tell({ type: 'release-rejected', generation: this.fleet.nextGeneration - 1, error: boom });
  }

  /** Each of them becomes ready. */
  ready(...workers: number[]): void {
    for (const worker of workers) this.tell({ type: 'worker-ready', worker });
  }

  /** Each of them says that it accepts. */
  accept(...workers: number[]): void {
    for (const worker of workers) this.tell({ type: 'worker-admitted', worker });
  }

  /** Each of them says that it stopped accepting. */
  withdraw(...workers: number[]): void {
    for (const worker of workers) this.tell({ type: 'worker-withdrew', worker });
  }

  /** All that could move at once has moved. */
  settle(worker: number, moved: ConnectionCounts = {}, open = 0, stayed: Stays = {}): readonly Effect[] {
    return this.tell({ type: 'worker-settled', worker, moved, open, stayed });
  }

  /** Each of them stopped accepting, and had nothing to hand over. */
  retire(...workers: number[]): void {
    this.withdraw(...workers);
    for (const worker of workers) this.settle(worker);
  }

  /** Its connections are gone. */
  drained(worker: number, account: Partial<ConnectionAccount> = {}): readonly Effect[] {
    return this.tell({ type: 'worker-drained', worker, moved: this.#moved.get(worker) ?? {}, closed: {}, cut: {}, ...account });
  }

  /** Each of them ends, with code 1 and the largest jitter. */
  exit(...workers: number[]): void {
    for (const worker of workers) this.tell({ type: 'worker-exited', worker, exit: codeOne, chance: 1, moved: this.#moved.get(worker) ?? {} });
  }

  tick(now: number): readonly Effect[] {
    this.now = now;
    return this.tell({ type: 'tick' });
  }

  /** The clock goes on to the next deadline. */
  nextTick(): readonly Effect[] {
    return this.tick(nextDeadline(this.fleet));
  }

  /** Generation 1 serves. */
  started(): this {
    this.reload();
    this.resolve();
    this.serveAll();
    return this;
  }

  /** Every worker that is on its way to serve gets there. */
  serveAll(): void {
    while (this.ids('starting').length > 0) this.ready(...this.ids('starting'));
    this.accept(...this.ids('admitted'));
  }

  ids(phase: Worker['phase'], generation?: number): number[] {
    return this.fleet.workers.filter((worker) => worker.phase === phase && (generation ?? worker.generation) === worker.generation).map(({ id }) => id);
  }

  /** Effects of a kind that the last event led to. */
  effectsOf<T extends Effect['type']>(type: T): Extract<Effect, { type: T }>[] {
    return this.effects.filter((effect): effect is Extract<Effect, { type: T }> => effect.type === type);
  }

  /** Reports of a kind that the last event led to. */
  told<T extends Report['type']>(type: T): ReportOf<T>[] {
    return this.effectsOf('report').flatMap(({ report }) => (report.type === type ? [report as ReportOf<T>] : []));
  }
}
