/** The worker processes of this master, and the releases they are started from. */
import { toReport } from '../errors.ts';
import type { OwnedFile } from '../owned-file.ts';
import type { FromWorker, ToWorker, WorkerIdentity } from '../protocol/worker.ts';
import type { Listeners } from './listeners.ts';
import type { Happening } from './loop.ts';
import type { Launch } from './release.ts';
import { startWorker, type WorkerProcess } from './worker-process.ts';

type Listen = Extract<FromWorker, { type: 'listen' }>;

const COUNT_TIMEOUT_MS = 500;

/** What the crew needs of its master. */
export interface CrewHost {
  readonly listeners: Listeners;
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
    const { dispatch, note, listeners, files } = this.#host;
    const identity: WorkerIdentity = { worker, generation, waitReady, times, listeners: listeners.named(generation), master: process.pid };
    const child = startWorker(launch, identity, {
      onMessage: (message) => (message.type === 'listen' ? void this.#grant(worker, { generation, backlog, waitReady }, message) : this.#hear(worker, message)),
      onNonsense: (mistake) => note(worker, `said something malformed, which is ignored: ${mistake}`),
      onDisconnect: () => dispatch({ type: 'worker-withdrew', worker }),
      onExit: (exit) => {
        dispatch({ type: 'worker-exited', worker, exit, chance: Math.random() });
        this.#processes.delete(worker);
      },
    });
    this.#processes.set(worker, child);
    child.send({ type: 'files', files: files() });
  }

  send(worker: number, message: ToWorker): void {
    this.#processes.get(worker)?.send(message);
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

  #hear(worker: number, message: Exclude<FromWorker, Listen>): void {
    const { dispatch, note } = this.#host;
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
        return dispatch({ type: 'worker-drained', worker, closed: message.closed, cut: message.cut });
      case 'connections':
        return this.#counts.get(message.id)?.(message.count);
      case 'notice':
        return note(worker, message.text);
      case 'failed':
        return; // its end follows, and carries it
    }
  }

  async #grant(worker: number, terms: { generation: number; backlog: number | undefined; waitReady: boolean }, { id, ...query }: Listen): Promise<void> {
    const { listeners, files, note } = this.#host;
    const known = listeners.files.length;
    try {
      const { handle, ...grant } = await listeners.grant(query, terms);
      this.#processes.get(worker)?.send({ type: 'listener', id, ...grant, isAdmitted: grant.isAdmitted && !terms.waitReady }, handle);
      if (listeners.files.length !== known) this.sendAll({ type: 'files', files: files() });
    } catch (error) {
      note(worker, `asked for a listener that could not be given: ${toReport(error).message}`);
      this.send(worker, {
        type: 'listener',
        id,
        errno: -22,
        address: query.address,
        addressType: query.addressType,
        backlog: 0,
        isAdmitted: false,
        serverData: null,
      });
    }
  }
}
