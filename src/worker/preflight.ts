/**
 * The proof that a new worker gives before it is ready: the functions that its program has registered, in their order, then
 * the pages that the operator has named; each again and again until it passes. Loaded only where there is one of them.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { toReport } from '../errors.ts';
import type { HealthFailure, HealthTerms } from '../protocol/worker.ts';
import { probe } from './probe.ts';
import type { Servers } from './servers.ts';

/** A function of the program. */
export type Check = () => unknown;

/** What is to be proved, and who wants to know. */
export interface Proof {
  readonly terms: HealthTerms;
  /** More may be added while it runs. */
  readonly checks: readonly Check[];
  readonly servers: Servers;
  readonly signal: AbortSignal;
  /** Told when the failure is another than the last. */
  onFailure(failure: HealthFailure): void;
}

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 1_000;

/** Resolves when all has passed. @throws when the signal aborts */
export async function runPreflight({ terms, checks, servers, signal, onFailure }: Proof): Promise<void> {
  let last = '';
  const tell = (failure: HealthFailure) => {
    const text = JSON.stringify(failure);
    if (text !== last) onFailure(failure);
    last = text;
  };
  const retry = (attempt: () => Promise<HealthFailure | null>) => untilPassed(attempt, tell, signal);
  let passed = 0;
  do {
    for (; passed < checks.length; passed++) {
      const check = checks[passed] as Check;
      await retry(() => runCheck(check, terms.timeoutMs, tell));
    }
    await retry(() => probe({ servers, signal, userAgent: 'graceful-super/preflight' }, terms));
  } while (passed < checks.length);
}

async function untilPassed(attempt: () => Promise<HealthFailure | null>, tell: (failure: HealthFailure) => void, signal: AbortSignal): Promise<void> {
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
    const failure = await attempt();
    signal.throwIfAborted();
    if (failure === null) return;
    tell(failure);
    await pause(pauseMs, undefined, { signal });
  }
}

/** One that takes its time is told of, but neither given up nor called a second time meanwhile. */
async function runCheck(check: Check, timeoutMs: number, tell: (failure: HealthFailure) => void): Promise<HealthFailure | null> {
  const request = `preflight(${check.name})`;
  const timer = setTimeout(() => tell({ request, error: `it has not ended within ${timeoutMs / 1000} s` }), timeoutMs);
  timer.unref();
  try {
    await check();
    return null;
  } catch (error) {
    const { name, message, code } = toReport(error);
    return { request, error: `${name}: ${message.split('\n')[0] || code}` };
  } finally {
    clearTimeout(timer);
  }
}
