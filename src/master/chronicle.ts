/** What becomes of a report: a line in the log, an answer to who asked for what it tells, and where there is more to know, that. */
import type { Config } from '../config/config.ts';
import type { Report } from '../core/effect.ts';
import type { Audience } from './audience.ts';
import type { Crew } from './crew.ts';
import { tellUnused } from './custody.ts';
import type { Listeners } from './listeners.ts';
import type { Log } from './log.ts';
import type { Releases } from './releases.ts';
import { describeReport } from './wording.ts';

/** What it is told by, and to whom. */
export interface ChronicleHost {
  /** Of the first generation. */
  readonly config: Config;
  readonly log: Log;
  readonly audience: Audience;
  readonly crew: Crew;
  readonly releases: Releases;
  readonly listeners: Listeners;
  /** The first generation serves; told before that is logged. */
  onServing(): void;
}

/** Tells whoever it concerns. */
export class Chronicle {
  readonly #host: ChronicleHost;

  constructor(host: ChronicleHost) {
    this.#host = host;
  }

  tell(report: Report): void {
    const { log, audience, crew, config } = this.#host;
    const line = describeReport(report, (worker) => crew.pidOf(worker));
    const { type, ...fields } = report;
    const pid = 'worker' in report && report.worker !== null ? { pid: crew.pidOf(report.worker) } : {};
    log.write(type, line, { ...fields, ...pid });
    audience.hear(report, line);
    if (type === 'worker-ailing' && report.ailment.reason === 'blocked') this.#tellStack(report.worker, report.generation);
    if (type !== 'reload-finished' || report.previous !== 0) return;
    if (report.outcome === 'committed') this.#announce(report.generation);
    else if (config.logFile !== undefined) process.stderr.write(`graceful-super: ${line.text}\n`);
  }

  #tellStack(worker: number, generation: number): void {
    const { log, crew, releases } = this.#host;
    if (releases.configOf(generation)?.blockedStack !== true) return;
    void crew.stackOf(worker).then((stack) => {
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
