/** When a worker says that it is ready: at once, or when its preflight has passed. What that takes is loaded only then. */
import { toReport } from '../errors.ts';
import type { FromWorker, HealthTerms } from '../protocol/worker.ts';
import type { Drain } from './drain.ts';
import type { Check } from './preflight.ts';
import type { Servers } from './servers.ts';

/** The readiness of this worker. */
export interface Readiness {
  /** Nothing may be accepted before it is ready. */
  readonly isGuarded: boolean;
  /** It has been said: what the program opens from now on does not belong to its start. */
  readonly isSaid: boolean;
  /** Adds a function that must resolve first; too late once it is ready. */
  add(check: Check): void;
  /** It would be ready now. */
  ready(): void;
}

/** What readiness needs. */
export interface ReadinessHost {
  readonly terms: HealthTerms;
  readonly servers: Servers;
  readonly drain: Drain;
  tell(message: FromWorker): void;
}

/** Prepares to say it. */
export function prepareReadiness({ terms, servers, drain, tell }: ReadinessHost): Readiness {
  const checks: Check[] = [];
  let hasBegun = false;
  let isSaid = false;
  const say = () => {
    isSaid = true;
    tell({ type: 'ready' });
  };
  const isGuarded = () => terms.requests.length > 0 || checks.length > 0;
  const prove = async () => {
    const abort = new AbortController();
    drain.addHook(() => abort.abort());
    const onFailure = (failure: Extract<FromWorker, { type: 'preflight-failed' }>['failure']) => tell({ type: 'preflight-failed', failure });
    try {
      const { runPreflight } = await import('./preflight.ts');
      await runPreflight({ terms, checks, servers, signal: abort.signal, onFailure });
      say();
    } catch (error) {
      if (!drain.hasBegun) onFailure({ request: 'preflight', error: toReport(error).message });
    }
  };
  return {
    get isGuarded() {
      return isGuarded();
    },
    get isSaid() {
      return isSaid;
    },
    add: (check) => void checks.push(check),
    ready() {
      if (!isGuarded()) return say();
      if (!hasBegun) void prove();
      hasBegun = true;
    },
  };
}
