/** Those who asked for something over the control socket and hear what comes of it. */
import type { Report } from '../../core/effect.ts';
import type { ControlLine, OutcomeError } from '../../protocol/control.ts';
import type { Line } from '../log/wording.ts';

type Tell = (line: ControlLine) => void;

/** Everybody who is listening. */
export class Subscribers {
  readonly #listeners = new Set<(report: Report, line: Line) => void>();
  readonly #awaitingStop = new Set<Tell>();

  /** Something happened. */
  hear(report: Report, line: Line): void {
    for (const listener of [...this.#listeners]) listener(report, line);
  }

  /** Tells what happens until this request is answered. @returns ends that */
  awaitAnswer(request: number, tell: Tell): () => void {
    const listener = (report: Report, line: Line) => {
      tell(toEvent(report, line));
      const answer = answerOf(report, request);
      if (answer === undefined) return;
      tell({ type: 'outcome', isDone: answer.error === null, ...answer, text: textOf(line) });
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
    return () => {
      this.#listeners.delete(listener);
      this.#awaitingStop.delete(tell);
    };
  }

  /** The master ends. */
  tellStopped(exitCode: number): void {
    for (const tell of this.#awaitingStop) tell({ type: 'stopped', exitCode });
  }
}

/** What a report means to who asked; undefined: it is no answer. */
function answerOf(report: Report, request: number): { readonly error: OutcomeError | null; readonly generation: number } | undefined {
  switch (report.type) {
    case 'request-refused':
      return report.request === request ? { error: 'refused', generation: 0 } : undefined;
    case 'scale-finished':
      return report.requests.includes(request) ? { error: report.failure === null ? null : 'scale-failed', generation: 0 } : undefined;
    case 'reload-holding': // without an end, nobody waits for it
      return report.holdMs === null && report.requests.includes(request) ? { error: null, generation: report.generation } : undefined;
    case 'reload-finished': {
      if (!report.requests.includes(request)) return undefined;
      const isRolledBackByHim = report.outcome === 'rolled-back' && report.failure.reason === 'asked' && report.requests.at(-1) === request;
      if (report.outcome === 'committed' || isRolledBackByHim) return { error: null, generation: report.generation };
      const isGone = report.failure.reason === 'release-rejected' && report.failure.error.code === 'release-gone';
      return { error: isGone ? 'release-gone' : 'reload-failed', generation: report.generation };
    }
    default:
      return undefined;
  }
}

function toEvent({ type }: Report, line: Line): ControlLine {
  return { type: 'event', event: type, level: line.level, text: textOf(line) };
}

function textOf({ text, details }: Line): string {
  return details === undefined ? text : `${text}\n${details}`;
}
