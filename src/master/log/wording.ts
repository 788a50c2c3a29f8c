/** What happened, in words: a level, a line, and for machines the facts. */
import type { Outcome, Refusal, Report } from '../../core/effect.ts';
import type { ConnectionAccount, ConnectionCounts, ErrorReport, Exit, Failure, HealthFailure, Stays } from '../../core/event.ts';

export type Level = 'error' | 'warn' | 'info' | 'debug';

/** A line to be logged; `details` follow it where people read. */
export interface Line {
  readonly level: Level;
  readonly text: string;
  readonly details?: string;
}

const refusals: Readonly<Record<Refusal, string>> = {
  stopping: 'the master is stopping',
  overtaken: 'the code before has been asked for since',
  'too-many-wait': 'a thousand requests wait for the reload that is on already',
  'no-canary': 'there is no canary to promote',
  'nothing-to-roll-back': 'there is nothing to go back to: no reload has been committed',
  'already-rolled-back': 'the last reload came to nothing, the code before it serves: there is nothing to roll back; --force goes back behind that',
};

type WorkerReport = Extract<Report, { type: `worker-${string}` }>;
type ReloadReport = Extract<Report, { type: `reload-${string}` }>;

/** Tells a worker's pid, if it has one. */
export type PidOf = (worker: number) => number | undefined;

const SIGINT = 2;
const SIGTERM = 15;

/** A report in words. */
export function describeReport(report: Report, pidOf: PidOf): Line {
  if (isAboutWorker(report)) return describeWorker(report, label(report, pidOf));
  if (isAboutReload(report)) return describeReload(report, pidOf);
  switch (report.type) {
    case 'restart-scheduled':
      return warn(`next start in ${duration(report.delayMs)}: ${plural(report.missing, 'worker')} missing`);
    case 'crash-loop':
      return {
        level: 'error',
        text: `crash loop: generation ${report.generation} has lost ${plural(report.crashes, 'worker')} in a row; a reload with mended code starts at once`,
      };
    case 'start-failed':
      return {
        level: 'error',
        text: `the start has failed: worker ${report.worker} (generation ${report.generation}) ${describeFailure(report.failure)} after ${duration(report.afterMs)}, and had never listened`,
      };
    case 'gave-up':
      return { level: 'error', text: `giving up: generation ${report.generation} has been in a crash loop for ${duration(report.afterMs)} (--give-up-after)` };
    case 'generation-cut':
      return warn(`generation ${report.generation} is cut: more than ${report.maxDraining} generations are draining (--max-draining)`);
    case 'generation-gone':
      return { level: total(report.cut) > 0 ? 'warn' : 'info', text: `generation ${report.generation} is gone${andAccount(report)}` };
    case 'scale-started':
      return info(`scaling from ${plural(report.from, 'worker')} to ${report.to} (${report.by})`);
    case 'scale-finished':
      if (report.failure === null) return info(`scaled: ${plural(report.workers, 'worker')} serving`);
      return { level: 'error', text: `scaling failed: ${describeFailure(report.failure)}` };
    case 'request-refused':
      return warn(`${refusals[report.reason]} (${report.by})`);
    case 'stopping':
      return info(`stopping (${report.by}): ${plural(report.workers, 'worker')}`);
    case 'stopping-at-once':
      return warn(`stopping at once (${report.by})`);
  }
}

function describeReload(report: ReloadReport, pidOf: PidOf): Line {
  switch (report.type) {
    case 'reload-started':
      return info(report.by.includes('start') ? 'starting' : `reload to generation ${report.generation} begins (${[...new Set(report.by)].join(', ')})`);
    case 'reload-queued':
      return info(`another reload follows ${report.isHeld ? 'when the canary is promoted' : 'this one'} (${report.by})`);
    case 'reload-holding': {
      const until = report.holdMs === null ? 'until it is promoted or rolled back' : `for ${duration(report.holdMs)}`;
      return info(
        `canary: ${plural(report.workers, 'worker')} of generation ${report.generation} ${report.workers === 1 ? 'serves' : 'serve'} beside the old ones ${until}`,
      );
    }
    case 'reload-promoted':
      return info(`generation ${report.generation} is promoted (${report.by}): the rest of its workers follows`);
    case 'reload-probation':
      return info(`generation ${report.generation} is on probation for ${duration(report.probationMs)}`);
    case 'reload-committed':
      return report.previous === 0
        ? info(`generation ${report.generation} serves`)
        : info(`generation ${report.generation} serves, generation ${report.previous} ${report.hasPreviousEnded ? 'has ended' : 'drains'}`);
    case 'reload-finished':
      return describeOutcome(report, pidOf);
  }
}

function describeWorker(report: WorkerReport, who: string): Line {
  switch (report.type) {
    case 'worker-spawned':
      return info(`${who} starts`);
    case 'worker-preflight-failed':
      return warn(`${who} is not healthy yet: ${describeHealth(report.failure)}`);
    case 'worker-ready':
      return info(`${who} is ready after ${duration(report.afterMs)}`);
    case 'worker-serving':
      return info(`${who} serves`);
    case 'worker-listens':
      return info(`${who} listens only now; --wait-ready, or --listen, makes a start wait for it`);
    case 'worker-draining':
      return info(`${who} drains${report.byItself ? ' of its own accord' : ''}`);
    case 'worker-kept':
      return warn(`${who} keeps ${describeStays(report.stayed)}`);
    case 'worker-drained':
      return { level: total(report.cut) > 0 ? 'warn' : 'info', text: `${who} is drained after ${duration(report.afterMs)}${andAccount(report)}` };
    case 'worker-overran':
      return warn(`${who} did not end in time: ${report.signal}`);
    case 'worker-check-failed':
      return warn(`${who} failed a health check (${report.strikes} in a row): ${describeHealth(report.failure)}`);
    case 'worker-ailing':
      return warn(`${who} will be replaced: ${describeFailure(report.ailment)}`);
    case 'worker-completed':
      return {
        level: isClean(report.exit) ? 'info' : 'error',
        text: `${who} has ended ${isClean(report.exit) ? 'as it should' : `and is not started again: ${describeFailure(report.exit)}`} (--restart)`,
      };
    case 'worker-unfit':
      return warn(`${who} ${describeFailure(report.failure)}`);
    case 'worker-stopped':
      return {
        level: isAsTold(report.exit) ? 'info' : 'warn',
        text: `${who} has ended${isAsTold(report.exit) ? '' : `: ${describeFailure(report.exit)}`}`,
      };
    case 'worker-crashed':
      return { level: 'error', text: `${who} ${describeFailure(report.failure)}` };
  }
}

/** How a reload ended, in words; what an operator reads first. */
export function describeOutcome(outcome: Outcome, pidOf: PidOf): Line {
  if (outcome.outcome === 'committed') {
    if (outcome.previous === 0) return info(`started: generation ${outcome.generation} serves after ${duration(outcome.durationMs)}`);
    const { generation, previous, durationMs, connections, open, stayed } = outcome;
    const left = open > 0 ? `; ${plural(open, 'connection')} still with generation ${previous}` : '';
    const why = stayed === undefined ? '' : `; ${describeStays(stayed)}`;
    return info(`reloaded: generation ${generation} serves in place of ${previous} after ${duration(durationMs)}${andAccount(connections)}${left}${why}`);
  }
  const { failure, previous, serving, worker } = outcome;
  const pid = worker === null ? undefined : pidOf(worker);
  const who = worker === null ? '' : `worker ${worker}${pid === undefined ? '' : ` (pid ${pid})`} `;
  const stack = stackOf(failure);
  const details = stack === undefined ? {} : { details: stack };
  if (failure.reason === 'completed') return info('the program has ended');
  if (failure.reason === 'asked')
    return { level: 'warn', text: `rolled back (${failure.by}): generation ${previous} goes on (${plural(serving, 'worker')} serving)` };
  if (failure.reason === 'stopping') return { level: 'warn', text: `${previous === 0 ? 'start' : 'reload'} abandoned: the master is stopping` };
  if (previous === 0) return { level: 'error', text: `start failed: ${who}${describeFailure(failure)}`, ...details };
  const still = serving === 0 ? 'no worker of it serves at the moment' : `${plural(serving, 'worker')} serving`;
  return { level: 'error', text: `reload failed, rolled back: ${who}${describeFailure(failure)}; generation ${previous} goes on (${still})`, ...details };
}

/** Why something failed, in words that follow its name. */
export function describeFailure(failure: Failure): string {
  switch (failure.reason) {
    case 'exit':
      return failure.error
        ? `exited with code ${failure.code}: ${headline(failure.error)}`
        : `exited with code ${failure.code}${failure.code === 0 ? ' without being asked to' : ''}`;
    case 'signal':
      return failure.error ? `was killed by ${failure.signal}: ${headline(failure.error)}` : `was killed by ${failure.signal}`;
    case 'ready-timeout':
      return `was not ready within ${duration(failure.timeoutMs)} (--ready-timeout): it ${failure.listening ? 'listens, but did not call ready()' : 'does not listen yet'}`;
    case 'preflight':
      return `was not ready within ${duration(failure.timeoutMs)} (--ready-timeout): ${describeHealth(failure)}`;
    case 'admit-failed':
      return `could not accept: ${headline(failure.error)}`;
    case 'withdrew':
      return 'stopped accepting of its own accord';
    case 'supplanted':
      return 'became another program (process.execve), which is no worker';
    case 'address-gone':
      return `the new code does not listen on ${failure.addresses.join(', ')}, where the old code serves (--allow-address-change allows it)`;
    case 'unhealthy':
      return describeHealth(failure);
    case 'blocked':
      return `its event loop has not turned for ${duration(failure.timeoutMs)} (--heartbeat-timeout)`;
    case 'memory':
      return `it uses ${megabytes(failure.rssBytes)} of memory, more than ${megabytes(failure.limitBytes)} (--max-memory)`;
    case 'age':
      return `it has served for ${duration(failure.ageMs)} (--max-age)`;
    case 'asked':
      return `rolled back (${failure.by})`;
    case 'crash-loop':
      return `crash loop: ${failure.crashes} crashes`;
    case 'completed':
      return 'the program has ended';
    case 'spawn-failed':
      return `could not be started: ${headline(failure.error)}`;
    case 'release-rejected':
      return headline(failure.error);
    case 'stopping':
      return 'the master is stopping';
  }
}

/** What was asked of a worker and how that failed: `its page /healthz answered 500 "out of disk"`. */
export function describeHealth({ request, status, body, error }: HealthFailure): string {
  const what = /^[/:]/.test(request) ? `its page ${request}` : `its ${request}`;
  const answered = status === undefined ? '' : ` answered ${status}${body ? ` "${body}"` : ''}`;
  return `${what}${answered}${error === undefined ? '' : `${answered && ','} failed: ${error}`}`;
}

/** 85 ms, 1.2 s, 3 min, 2 h 5 min, 4 d 3 h */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 120) return `${Number(seconds.toFixed(1))} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

function isAboutWorker(report: Report): report is WorkerReport {
  return report.type.startsWith('worker-');
}

function isAboutReload(report: Report): report is ReloadReport {
  return report.type.startsWith('reload-');
}

function label({ worker, generation }: { worker: number; generation: number }, pidOf: PidOf): string {
  const pid = pidOf(worker);
  return `worker ${worker} (${pid === undefined ? '' : `pid ${pid}, `}generation ${generation})`;
}

function headline({ name, message, code }: ErrorReport): string {
  // a SyntaxError's place is only in its stack
  const text = message.split('\n')[0] ?? '';
  if (name === 'GracefulError') return message;
  return `${name}: ${text}${code === undefined || text.includes(code) ? '' : ` (${code})`}`;
}

function stackOf(failure: Failure): string | undefined {
  return 'error' in failure && typeof failure.error === 'object' ? failure.error.stack : undefined;
}

function isClean(exit: Exit): boolean {
  return exit.reason === 'exit' && exit.code === 0;
}

/** What it was told to end by comes back as that signal, or, from programs that handle it, as the code that a shell gives it. */
function isAsTold(exit: Exit): boolean {
  if (exit.reason === 'signal') return exit.signal === 'SIGTERM' || exit.signal === 'SIGINT';
  return exit.reason === 'exit' && [0, 128 + SIGINT, 128 + SIGTERM].includes(exit.code);
}

/** `moved: 3 http, ended: 1 tcp, cut: 1 websocket`; empty where there were none. */
export function describeAccount({ moved, closed, cut }: ConnectionAccount): string {
  const parts = [
    ['moved', moved],
    ['ended', closed],
    ['cut', cut],
  ] as const;
  return parts.flatMap(([what, byKind]) => (total(byKind) > 0 ? `${what}: ${counts(byKind)}` : [])).join(', ');
}

/** `12 connections that could not move: no ticket could be written (ENOSPC)` */
function describeStays(stayed: Stays): string {
  const reasons = Object.entries(stayed).map(([reason, count], _index, all) => (all.length === 1 ? reason : `${reason} (${count})`));
  return `${plural(total(stayed), 'connection')} that could not move: ${reasons.join(', ')}`;
}

function andAccount(account: ConnectionAccount): string {
  const text = describeAccount(account);
  return text === '' ? '' : `; connections ${text}`;
}

function total(byKind: ConnectionCounts): number {
  return Object.values(byKind).reduce((sum, count) => sum + count, 0);
}

function counts(byKind: ConnectionCounts): string {
  return Object.entries(byKind)
    .map(([kind, count]) => `${count} ${kind}`)
    .join(', ');
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

function info(text: string): Line {
  return { level: 'info', text };
}

function warn(text: string): Line {
  return { level: 'warn', text };
}

/** 512 MiB */
export function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1024 ** 2)} MiB`;
}
