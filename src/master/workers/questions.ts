/** What workers are asked, and wait for the answer of: how they are, and whether they are healthy. */
import type { Clock } from '../../kernel.ts';
import { type FromWorker, type HealthFailure, type HealthTerms, nameRequest, type ToWorker } from '../../protocol/worker.ts';

type Said<T> = Extract<FromWorker, { type: T }>;

/** What a worker says of itself. */
export type Answer = Pick<Said<'vitals'>, 'connections' | 'rssBytes'>;

const EXAMINE_TIMEOUT_MS = 500;
/** A worker that is asked whether it is healthy has so much longer for the answer than its pages have. */
const CHECK_ALLOWANCE_MS = 1_000;

/** Each question has a number, and its answer names it. */
export class Questions {
  readonly #send: (worker: number, message: ToWorker) => void;
  readonly #clock: Clock;
  readonly #examined = new Map<number, (answer: Answer | null) => void>();
  readonly #checks = new Map<number, (failure: HealthFailure | null) => void>();
  #last = 0;

  constructor(send: (worker: number, message: ToWorker) => void, clock: Clock) {
    this.#send = send;
    this.#clock = clock;
  }

  /** Asks a worker how it is, without waiting. */
  ping(worker: number): void {
    this.#send(worker, { type: 'examine', id: 0 });
  }

  /** How a worker is; null if it does not answer in time. */
  examine(worker: number): Promise<Answer | null> {
    const id = ++this.#last;
    return this.#ask(this.#examined, id, { timeoutMs: EXAMINE_TIMEOUT_MS, otherwise: null }, () => this.#send(worker, { type: 'examine', id }));
  }

  /** Asks a worker whether it is healthy. @returns null: it is; no answer in time is a failure, too */
  check(worker: number, terms: HealthTerms): Promise<HealthFailure | null> {
    const id = ++this.#last;
    const { requests, timeoutMs } = terms;
    const otherwise = { request: requests.map(nameRequest).join(', '), error: `no answer within ${timeoutMs / 1000} s` };
    return this.#ask(this.#checks, id, { timeoutMs: timeoutMs + CHECK_ALLOWANCE_MS, otherwise }, () => this.#send(worker, { type: 'check', id, ...terms }));
  }

  onVitals(answer: Said<'vitals'>): void {
    this.#examined.get(answer.id)?.(answer);
  }

  onChecked({ id, failure }: Said<'checked'>): void {
    this.#checks.get(id)?.(failure);
  }

  #ask<T>(
    waiting: Map<number, (answer: T | null) => void>,
    id: number,
    { timeoutMs, otherwise }: { timeoutMs: number; otherwise: T | null },
    ask: () => void,
  ): Promise<T | null> {
    return new Promise((resolve) => {
      const settle = (answer: T | null) => {
        cancel();
        waiting.delete(id);
        resolve(answer);
      };
      const cancel = this.#clock.after(timeoutMs, () => settle(otherwise));
      waiting.set(id, settle);
      ask();
    });
  }
}
