/** The worker processes of this master, and the releases they are started from. */
import { join } from 'node:path';
import { toReport } from '../errors.ts';
import type { Handle } from '../node/channel.ts';
import type { ConnectionHandle } from '../node/connection.ts';
import type { OwnedFile } from '../owned-file.ts';
import type { FromWorker, ToWorker, WorkerIdentity } from '../protocol/worker.ts';
import { makeTickets, type Tickets } from '../tickets.ts';
import type { Listeners } from './listeners.ts';
import type { Happening } from './loop.ts';
import type { Launch } from './release.ts';
import type { Router } from './router.ts';
import { startWorker, type WorkerProcess } from './worker-process.ts';

type Listen = Extract<FromWorker, { type: 'listen' }>;

const COUNT_TIMEOUT_MS = 500;

/** What the crew needs of its master. */
export interface CrewHost {
  readonly listeners: Listeners;
  readonly router: Router;
  /** A folder that is ours. */
  readonly folder: string;
  dispatch(happening: Happening): void;
  /** Files that workers are to remove should the master vanish. */
  files(): readonly OwnedFile[];
  note(worker: number, text: string): void;
}

/** All that a spawn needs besides the worker's number. */
export interface Order {
  readonly launch: Launch;
  readonly waitReady: boolean;
  readonly times: WorkerIdentity['times'];
  readonly backlog: number | undefined;
}

/** Starts workers, passes on what they say, and speaks to them. */
export class Crew {
  readonly #host: CrewHost;
  readonly #processes = new Map<number, WorkerProcess>();
  readonly #counts = new Map<number, (count: number) => void>();
  #lastCount = 0;

  constructor(host: CrewHost) {
    this.#host = host;
  }

  spawn(worker: number, generation: number, { launch, waitReady, times, backlog }: Order): void {
    const { dispatch, note, listeners, files, router } = this.#host;
    const tickets = this.#makeTickets(worker);
    router.add(worker, tickets);
    const identity = { worker, generation, waitReady, times, listeners: listeners.named(generation), master: process.pid };
    const child = startWorker(launch, identity, tickets?.fd, {
      onMessage: (message, handle) => {
        router.heard(worker);
        if (message.type === 'listen') void this.#grant(worker, { generation, backlog, waitReady }, message);
        else this.#hear(worker, message, handle);
      },
      onNonsense: (mistake) => note(worker, `said something malformed, which is ignored: ${mistake}`),
      onDisconnect: () => dispatch({ type: 'worker-disconnected', worker }),
      onExit: (exit) => {
        router.remove(worker, (moved) => {
          dispatch({ type: 'worker-exited', worker, exit, chance: Math.random(), moved });
          this.#processes.delete(worker);
        });
      },
    });
    this.#processes.set(worker, child);
    child.send({ type: 'files', files: files() });
  }

  send(worker: number, message: ToWorker, handle?: Handle): void {
    this.#processes.get(worker)?.send(message, handle);
  }

  sendAll(message: ToWorker): void {
    for (const process of this.#processes.values()) process.send(message);
  }

  signal(worker: number, signal: 'SIGTERM' | 'SIGKILL'): void {
    const process = this.#processes.get(worker);
    if (signal === 'SIGTERM') process?.send({ type: 'hurry' });
    process?.signal(signal);
  }

  pidOf(worker: number): number | undefined {
    return this.#processes.get(worker)?.pid;
  }

  /** Open connections of a worker; null if it does not answer in time. */
  async countConnections(worker: number): Promise<number | null> {
    const id = ++this.#lastCount;
    let timer: NodeJS.Timeout | undefined;
    const count = new Promise<number | null>((resolve) => {
      this.#counts.set(id, resolve);
      timer = setTimeout(() => resolve(null), COUNT_TIMEOUT_MS);
    });
    this.send(worker, { type: 'count-connections', id });
    const result = await count;
    clearTimeout(timer);
    this.#counts.delete(id);
    return result;
  }

  #hear(worker: number, message: Exclude<FromWorker, Listen>, handle: ConnectionHandle | undefined): void {
    const { dispatch, note, router } = this.#host;
    switch (message.type) {
      case 'listening':
        return dispatch({ type: 'worker-listening', worker });
      case 'ready':
        return dispatch({ type: 'worker-ready', worker });
      case 'admitted':
        return dispatch({ type: 'worker-admitted', worker });
      case 'admit-failed':
        return dispatch({ type: 'worker-admit-failed', worker, error: message.error });
      case 'withdrew':
        return dispatch({ type: 'worker-withdrew', worker });
      case 'drained':
        return dispatch({ type: 'worker-drained', worker, moved: router.movedOf(worker), closed: message.closed, cut: message.cut });
      case 'settled':
        return dispatch({ type: 'worker-settled', worker, moved: router.movedOf(worker), open: message.open });
      case 'offer':
        return router.onOffer(worker, message, handle);
      case 'adopted':
        return router.onAdopted(worker, message);
      case 'refused':
        return router.onRefused(worker, message);
      case 'connections':
        return this.#counts.get(message.id)?.(message.count);
      case 'notice':
        return note(worker, message.text);
      case 'failed':
        return; // its end follows, and carries it
    }
  }

  #makeTickets(worker: number): Tickets | undefined {
    try {
      return makeTickets(join(this.#host.folder, `.${process.pid.toString(36)}.${worker}.tickets`));
    } catch (error) {
      this.#host.note(worker, `can't be given connections at a reload: ${toReport(error).message}`); // a full disk must not keep a worker from starting
      return undefined;
    }
  }

  async #grant(worker: number, terms: { generation: number; backlog: number | undefined; waitReady: boolean }, { id, ...query }: Listen): Promise<void> {
    const { listeners, router, files, note } = this.#host;
    const known = listeners.files.length;
    try {
      const { handle, ...grant } = await listeners.grant(query, terms);
      if (handle) router.granted(worker, grant.listener);
      this.#processes.get(worker)?.send({ type: 'listener', id, ...grant, isAdmitted: grant.isAdmitted && !terms.waitReady }, handle);
      if (listeners.files.length !== known) this.sendAll({ type: 'files', files: files() });
    } catch (error) {
      note(worker, `asked for a listener that could not be given: ${toReport(error).message}`);
      this.send(worker, {
        type: 'listener',
        id,
        errno: -22,
        listener: 0,
        address: query.address,
        addressType: query.addressType,
        backlog: 0,
        isAdmitted: false,
        serverData: null,
      });
    }
  }
}
