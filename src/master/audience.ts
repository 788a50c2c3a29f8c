/** Those who asked for something over the control socket and hear what comes of it. */
import type { Report } from '../core/effect.ts';
import type { ControlLine } from '../protocol/control.ts';
import type { Line } from './wording.ts';

type Tell = (line: ControlLine) => void;

/** Everybody who is listening. */
export class Audience {
  readonly #listeners = new Set<(report: Report, line: Line) => void>();
  readonly #awaitingStop = new Set<Tell>();

  /** Something happened. */
  hear(report: Report, line: Line): void {
    for (const listener of [...this.#listeners]) listener(report, line);
  }

  /** Tells what happens until the reload that answers this request is over. @returns ends that */
  awaitReload(request: number, tell: Tell): () => void {
    const listener = (report: Report, line: Line) => {
      tell(toEvent(report, line));
      if (report.type !== 'reload-finished' || !report.requests.includes(request)) return;
      tell({ type: 'outcome', isCommitted: report.outcome === 'committed', generation: report.generation, text: textOf(line) });
      this.#listeners.delete(listener);
    };
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Tells what happens until the master ends. @returns ends that */
  awaitStop(tell: Tell): () => void {
    const listener = (report: Report, line: Line) => tell(toEvent(report, line));
    this.#listeners.add(listener);
    this.#awaitingStop.add(tell);
    return () => void this.#listeners.delete(listener);
  }

  /** The master ends. */
  tellStopped(exitCode: number): void {
    for (const tell of this.#awaitingStop) tell({ type: 'stopped', exitCode });
  }
}

function toEvent({ type }: Report, line: Line): ControlLine {
  return { type: 'event', event: type, level: line.level, text: textOf(line) };
}

function textOf({ text, details }: Line): string {
  return details === undefined ? text : `${text}\n${details}`;
}
