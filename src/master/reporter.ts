/** What becomes of a report: a line in the log, an answer to who asked for what it tells, and where there is more to know, that. */
import type { Config } from '../config/config.ts';
import type { Report } from '../core/effect.ts';
import { printable } from '../printable.ts';
import type { Subscribers } from './control/subscribers.ts';
import { tellUnused } from './listeners/custody.ts';
import type { Listeners } from './listeners/listeners.ts';
import type { Log } from './log/log.ts';
import { errorOutput } from './log/terminal.ts';
import { describeReport } from './log/wording.ts';
import type { WorkerPool } from './workers/pool.ts';
import type { Releases } from './workers/releases.ts';

/** What it is told by, and to whom. */
export interface ReporterHost {
  /** Of the first generation. */
  readonly config: Config;
  readonly log: Log;
  readonly subscribers: Subscribers;
  readonly pool: WorkerPool;
  readonly releases: Releases;
  readonly listeners: Listeners;
  /** The first generation serves; told before that is logged. */
  onServing(): void;
}

/** Tells whoever it concerns. */
export class Reporter {
  readonly #host: ReporterHost;

  constructor(host: ReporterHost) {
    this.#host = host;
  }

  tell(report: Report): void {
    const { log, subscribers, pool, config } = this.#host;
    const line = describeReport(report, (worker) => pool.pidOf(worker));
    const { type, ...fields } = report;
    const pid = 'worker' in report && report.worker !== null ? { pid: pool.pidOf(report.worker) } : {};
    log.write(type, line, { ...fields, ...pid });
    subscribers.hear(report, line);
    if (type === 'worker-ailing' && report.ailment.reason === 'blocked') this.#tellStack(report.worker, report.generation);
    if (type !== 'reload-finished' || report.previous !== 0) return;
    if (report.outcome === 'committed') this.#announce(report.generation);
    else if (config.logFile !== undefined) errorOutput().write(printable(`graceful-super: ${line.text}\n`));
  }

  #tellStack(worker: number, generation: number): void {
    const { log, pool, releases } = this.#host;
    if (releases.configOf(generation)?.blockedStack !== true) return;
    void pool.stackOf(worker).then((stack) => {
      const text = `worker ${worker} ${stack === undefined ? 'where it hangs can not be told' : 'hangs here:'}`;
      log.write('worker-stack', { level: 'warn', text, ...(stack && { details: stack }) }, { worker, stack });
    });
  }

  /** The first generation serves: what a person who started it wants to know. */
  #announce(generation: number): void {
    const { log, listeners, config, onServing } = this.#host;
    const { name } = config;
    const listening = listeners.describe(generation).map(({ address }) => address);
    const where = listening.length === 0 ? 'without a listener' : `listening on ${listening.join(', ')}`;
    tellUnused(listeners, log);
    onServing();
    log.write('master-ready', { level: 'info', text: `master "${name}", pid ${process.pid}, ${where}` }, { name, pid: process.pid, listening });
  }
}
