/** The worker processes of this master, and the releases they are started from. */
import { constants } from 'node:os';
import type { Happening } from '../../core/event.ts';
import { toReport } from '../../errors.ts';
import type { Handle } from '../../node/channel.ts';
import type { ConnectionHandle } from '../../node/connection.ts';
import type { OwnedFile } from '../../owned-file.ts';
import type { FromWorker, HealthTerms, ToWorker, WorkerIdentity } from '../../protocol/worker.ts';
import type { Router } from '../handoff/router.ts';
import type { Listeners } from '../listeners/listeners.ts';
import type { Guard } from './guard.ts';
import { Questions } from './questions.ts';
import type { Launch } from './release.ts';
import { hasDroppedRoot, isForAll } from './rights.ts';
import { tellSeldom } from './seldom.ts';
import { hasLostTerminal, type Spawned, type SpawnHost, spawnWorker } from './spawn.ts';
import { startWorker, type WorkerProcess } from './worker-process.ts';

type Listen = Extract<FromWorker, { type: 'listen' }>;
type Closed = Extract<FromWorker, { type: 'closed' }>;

/** Of a message that is none of ours, in characters. */
const MOST_QUOTED = 200;
const EINVAL = -constants.errno.EINVAL;

/** What the pool needs of its master. */
export interface PoolHost extends SpawnHost {
  readonly listeners: Listeners;
  readonly router: Router;
  /** What was spawned in advance, for the first worker that is launched like it. */
  readonly spawned: Spawned | undefined;
  /** What ends workers that a killed master leaves behind. */
  readonly guard: Guard;
  dispatch(happening: Happening): void;
  /** The core waits for this worker's start. */
  isStarting(worker: number): boolean;
  /** Files that workers are to remove should the master vanish. */
  files(): readonly OwnedFile[];
  note(worker: number, text: string, level?: 'warn' | 'info' | 'debug'): void;
  /** A worker has said how it is. */
  onVitals(worker: number, rssBytes: number | null): void;
}

/** Whom a worker is to be. */
type Place = Pick<WorkerIdentity, 'worker' | 'generation' | 'index'>;

/** All that a spawn needs besides the worker's number. */
export interface Order {
  readonly launch: Launch;
  readonly waitReady: boolean;
  readonly preflight: HealthTerms;
  readonly times: WorkerIdentity['times'];
  readonly handoffTls: boolean;
  readonly backlog: number | undefined;
  /** It has not ended before its children have: nothing of it is to run twice. */
  readonly isAlone: boolean;
}

/** Starts workers, passes on what they say, and speaks to them. */
export class WorkerPool {
  readonly questions: Questions;
  readonly #host: PoolHost;
  readonly #processes = new Map<number, WorkerProcess>();
  readonly #sweeps = new Set<Promise<void>>();
  /** They deal with clients, or soon will. */
  readonly #ready = new Set<number>();
  #spawned: Spawned | undefined;

  constructor(host: PoolHost) {
    this.#host = host;
    this.questions = new Questions((worker, message) => this.send(worker, message), host.kernel);
    this.#spawned = host.spawned;
  }

  /** Starts a worker, at once or when its order is there. */
  start(place: Place, order: Order | Promise<Order>): void {
    const { worker } = place;
    if (!(order instanceof Promise)) return this.#spawn(place, order);
    const never = (error: unknown) =>
      this.#host.dispatch({ type: 'worker-exited', worker, exit: { reason: 'spawn-failed', error: toReport(error) }, chance: Math.random(), moved: {} });
    order.then(
      // it may have been told to end meanwhile, when there was nobody to tell
      (late) => (this.#host.isStarting(worker) ? this.#spawn(place, late) : never(new Error('no longer wanted'))),
      never,
    );
  }

  #spawn({ worker, generation, index }: Place, { launch, waitReady, preflight, times, handoffTls, backlog, isAlone }: Order): void {
    const { dispatch, note, listeners, files, router, kernel } = this.#host;
    const spawned = this.#takeSpawned(launch) ?? spawnWorker(launch, this.#host);
    if (hasLostTerminal()) note(worker, 'has no terminal any more: what it writes to standard output or error is lost');
    if (!spawned.tickets) note(worker, `can't be given connections at a reload: ${toReport(spawned.ticketsError).message}`);
    router.add(worker, spawned.tickets);
    const identity = { worker, generation, index, waitReady, preflight, times, handoffTls, listeners: listeners.named(generation), master: process.pid };
    const child = startWorker(spawned, identity, {
      onMessage: (message, handle) => {
        router.heard(worker);
        if (message.type === 'listen') dispatch({ type: 'worker-asked', worker });
        if (message.type === 'listen') void this.#grant(worker, { backlog, waitReady }, message);
        else if (message.type === 'closed') void this.#release(worker, message.id);
        else this.#hear(worker, message, handle);
      },
      onNonsense: tellSeldom(kernel.now, (count, mistake) =>
        note(worker, `said something malformed, which is ignored: ${mistake}${count > 1 ? ` (${count} times)` : ''}`),
      ),
      onUnclear: (listen) => this.send(worker, refusal(listen, { address: null, addressType: 4 }, EINVAL)),
      onForeign: tellSeldom(kernel.now, (count, message) =>
        note(worker, `sent ${count} messages to its parent, which nobody reads, last ${excerpt(message)}`, 'debug'),
      ),
      onDisconnect: (isSupplanted) => dispatch({ type: isSupplanted ? 'worker-supplanted' : 'worker-disconnected', worker }),
      onExit: (exit, swept) => {
        if (child.pid !== undefined) this.#host.guard.forget(child.pid);
        this.#sweeps.add(swept);
        void swept.then(() => this.#sweeps.delete(swept));
        const tell = () => {
          router.remove(worker, (moved) => {
            dispatch({ type: 'worker-exited', worker, exit, chance: Math.random(), moved });
            this.#processes.delete(worker);
            this.#ready.delete(worker);
          });
        };
        if (isAlone) void swept.then(tell);
        else tell();
      },
    });
    this.#processes.set(worker, child);
    if (child.pid !== undefined) this.#host.guard.watch(child.pid, times);
    child.send({ type: 'files', files: files() });
  }

  /** `onLost`: the handle did not reach the worker, nor did the message. */
  send(worker: number, message: ToWorker, handle?: Handle, onLost?: () => void): void {
    this.#processes.get(worker)?.send(message, handle, onLost);
  }

  sendAll(message: ToWorker): void {
    for (const process of this.#processes.values()) process.send(message);
  }

  signal(worker: number, signal: 'SIGTERM' | 'SIGKILL'): void {
    const process = this.#processes.get(worker);
    if (signal === 'SIGTERM') process?.send({ type: 'hurry' });
    process?.signal(signal);
  }

  /** Settles when what ended workers have left behind has ended. */
  async swept(): Promise<void> {
    await Promise.all(this.#sweeps);
  }

  pidOf(worker: number): number | undefined {
    return this.#processes.get(worker)?.pid;
  }

  /** Where a worker hangs; undefined where that can't be told. */
  async stackOf(worker: number): Promise<string | undefined> {
    return this.#processes.get(worker)?.stack();
  }

  #hear(worker: number, message: Exclude<FromWorker, Listen | Closed>, handle: ConnectionHandle | undefined): void {
    const { dispatch, note, router, listeners } = this.#host;
    switch (message.type) {
      case 'listening':
        return dispatch({ type: 'worker-listening', worker, isListening: message.isListening });
      case 'ready':
        this.#ready.add(worker);
        return dispatch({ type: message.isQuiet ? 'worker-answered' : 'worker-ready', worker });
      case 'preflight-failed':
        return dispatch({ type: 'worker-preflight-failed', worker, failure: message.failure });
      case 'admitted':
        return dispatch({ type: 'worker-admitted', worker });
      case 'admit-failed':
        return dispatch({ type: 'worker-admit-failed', worker, error: message.error });
      case 'withdrew':
        return dispatch({ type: 'worker-withdrew', worker });
      case 'drained':
        return dispatch({ type: 'worker-drained', worker, moved: router.movedOf(worker), closed: message.closed, cut: message.cut });
      case 'settled':
        return dispatch({ type: 'worker-settled', worker, moved: router.movedOf(worker), open: message.open, stayed: message.stayed ?? {} });
      case 'offer':
        return router.onOffer(worker, message, handle);
      case 'adopted':
        return router.onAdopted(worker, message);
      case 'refused':
        return router.onRefused(worker, message);
      case 'given-back':
        return router.onGivenBack(worker, message);
      case 'membership':
        return listeners.setMembership({ worker, id: message.id }, { source: message.source, group: message.group, via: message.via }, message.isMember);
      case 'key':
        return router.onKey(worker, message, () => dispatch({ type: 'tick' }));
      case 'vitals':
        this.questions.onVitals(message);
        return this.#host.onVitals(worker, message.rssBytes);
      case 'checked':
        return this.questions.onChecked(message);
      case 'notice':
        return note(worker, message.text, message.level);
      case 'failed':
        return; // its end follows, and carries it
    }
  }

  #takeSpawned(launch: Launch): Spawned | undefined {
    const spawned = this.#spawned;
    this.#spawned = undefined;
    if (spawned?.launch === launch) return spawned;
    void spawned?.discard();
    return undefined;
  }

  async #grant(worker: number, terms: { backlog: number | undefined; waitReady: boolean }, { id, ...query }: Listen): Promise<void> {
    const { listeners, router, note } = this.#host;
    const isBounded = this.#ready.has(worker) && hasDroppedRoot(this.pidOf(worker));
    if (isBounded && !isForAll(query) && !listeners.holds(query)) {
      note(worker, `has dropped root, and asked for ${query.address ?? '*'}${query.port < 0 ? '' : `:${query.port}`} after it was ready: refused`);
      return this.send(worker, refusal(id, query, -constants.errno.EACCES));
    }
    try {
      const allowed = isBounded ? { ...query, umask: null, readableAll: false, writableAll: false } : query;
      const { handle, ...grant } = await this.#tellingFiles(() => listeners.grant(allowed, { worker, id }, terms.backlog));
      if (handle) router.granted(worker, grant.listener);
      this.#tellAddresses(worker);
      const isAdmitted = grant.isAdmitted && !terms.waitReady;
      this.send(worker, { type: 'listener', id, ...grant, isAdmitted }, handle, () => {
        void this.#release(worker, id);
        this.send(worker, refusal(id, query, -constants.errno.EMFILE));
      });
    } catch (error) {
      note(worker, `asked for a listener that could not be given: ${toReport(error).message}`);
      this.send(worker, refusal(id, query, EINVAL));
    }
  }

  async #release(worker: number, id: number): Promise<void> {
    const { listeners, router } = this.#host;
    await this.#tellingFiles(() => listeners.release({ worker, id }));
    router.limit(worker, listeners.of(worker));
    this.#tellAddresses(worker);
    this.send(worker, { type: 'let-go', id });
  }

  /** Also of one that has died meanwhile: what it was given is looked at in the turn that follows. */
  #tellAddresses(worker: number): void {
    this.#host.dispatch({ type: 'worker-addresses', worker, addresses: this.#host.listeners.addressesOf(worker) });
  }

  /** Workers know which files are to be removed should the master vanish. */
  async #tellingFiles<T>(change: () => Promise<T>): Promise<T> {
    const { listeners, files } = this.#host;
    const before = listeners.files.map(({ path }) => path).join();
    const result = await change();
    if (listeners.files.map(({ path }) => path).join() !== before) this.sendAll({ type: 'files', files: files() });
    return result;
  }
}

/** The program's `listen` fails with this. */
function refusal(id: number, { address, addressType }: Pick<Listen, 'address' | 'addressType'>, errno: number): ToWorker {
  return { type: 'listener', id, errno, listener: 0, address, addressType, backlog: 0, isAdmitted: false, isPromised: false, serverData: null };
}

function excerpt(message: unknown): string {
  return JSON.stringify(message)?.slice(0, MOST_QUOTED) ?? '';
}
