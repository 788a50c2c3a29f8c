/**
 * How the workers that serve are: whether their event loops turn, how much memory they use, what their health pages say.
 * A worker is asked a few times within the timeout and must be silent each time, so that a machine that was suspended, and
 * a master that was stopped, blame nobody.
 */
import type { Happening, HealthFailure } from '../../core/event.ts';
import type { Cancel, Clock } from '../../kernel.ts';
import type { HealthTerms } from '../../protocol/worker.ts';

/** Questions in a row that go unanswered before a worker counts as blocked. */
const SILENCES = 3;
/** How often memory is looked at where nothing else asks for more. */
const MEASURE_MS = 10_000;

/** What to look at. Milliseconds. */
export interface VitalSettings {
  /** 0: workers need not answer. */
  readonly heartbeatTimeoutMs: number;
  readonly isMemoryLimited: boolean;
  readonly health: HealthTerms;
  readonly healthIntervalMs: number;
}

/** What watching needs of its master. */
export interface VitalsHost {
  readonly clock: Clock;
  ping(worker: number): void;
  check(worker: number, terms: HealthTerms): Promise<HealthFailure | null>;
  dispatch(happening: Happening): void;
}

/** Watches every worker that serves. */
export class Vitals {
  readonly #host: VitalsHost;
  readonly #watched = new Map<number, Watch>();

  constructor(host: VitalsHost) {
    this.#host = host;
  }

  /** These serve now. */
  watch(serving: ReadonlyMap<number, VitalSettings>): void {
    for (const [worker, watch] of this.#watched) {
      if (serving.get(worker)?.heartbeatTimeoutMs === watch.heartbeatTimeoutMs) continue;
      watch.end();
      this.#watched.delete(worker);
    }
    for (const [worker, settings] of serving) if (!this.#watched.has(worker)) this.#watched.set(worker, new Watch(worker, settings, this.#host));
  }

  /** A worker has answered; it may not know how much memory it uses. */
  onAnswer(worker: number, rssBytes: number | null): void {
    if (!this.#watched.has(worker)) return;
    this.#watched.get(worker)?.onAnswer();
    if (rssBytes !== null) this.#host.dispatch({ type: 'worker-measured', worker, rssBytes });
  }
}

class Watch {
  readonly #worker: number;
  readonly #settings: VitalSettings;
  readonly #host: VitalsHost;
  readonly #timers: Cancel[] = [];
  #unanswered = 0;
  #isChecking = false;
  #hasEnded = false;

  constructor(worker: number, settings: VitalSettings, host: VitalsHost) {
    this.#worker = worker;
    this.#settings = settings;
    this.#host = host;
    const { heartbeatTimeoutMs, isMemoryLimited, health, healthIntervalMs } = settings;
    const heartbeatMs = heartbeatTimeoutMs === 0 ? Number.POSITIVE_INFINITY : Math.ceil(heartbeatTimeoutMs / SILENCES);
    const beatMs = Math.min(heartbeatMs, isMemoryLimited ? MEASURE_MS : Number.POSITIVE_INFINITY);
    if (beatMs !== Number.POSITIVE_INFINITY) {
      host.ping(worker);
      this.#timers.push(host.clock.every(beatMs, () => this.#beat(beatMs)));
    }
    if (health.requests.length === 0) return;
    this.#timers.push(host.clock.every(healthIntervalMs, () => void this.#check()));
    void this.#check();
  }

  /** What was taken for a job may turn out to be a server. */
  get heartbeatTimeoutMs(): number {
    return this.#settings.heartbeatTimeoutMs;
  }

  onAnswer(): void {
    this.#unanswered = 0;
  }

  end(): void {
    this.#hasEnded = true;
    for (const cancel of this.#timers) cancel();
  }

  #beat(beatMs: number): void {
    const { heartbeatTimeoutMs } = this.#settings;
    this.#unanswered++;
    if (heartbeatTimeoutMs > 0 && this.#unanswered * beatMs >= heartbeatTimeoutMs) {
      this.#host.dispatch({ type: 'worker-blocked', worker: this.#worker, timeoutMs: heartbeatTimeoutMs });
    }
    this.#host.ping(this.#worker);
  }

  /** One at a time: a slow page is not asked again meanwhile. */
  async #check(): Promise<void> {
    if (this.#isChecking) return;
    this.#isChecking = true;
    const failure = await this.#host.check(this.#worker, this.#settings.health);
    this.#isChecking = false;
    if (!this.#hasEnded) this.#host.dispatch({ type: 'worker-checked', worker: this.#worker, failure });
  }
}
