/** When a worker says that it is ready: at once, or when its preflight has passed. What that takes is loaded only then. */
import { toReport } from '../errors.ts';
import type { FromWorker, HealthTerms } from '../protocol/worker.ts';
import type { Drain } from './drain.ts';
import type { Check } from './preflight.ts';
import type { Servers } from './servers.ts';

/** The readiness of this worker. */
export interface Readiness {
  /** Nothing may be accepted before it is ready, which it is not. */
  readonly isGuarded: boolean;
  /** It has been said: what the program opens from now on does not belong to its start. Of one that listens nowhere that is never so: it may be a slow server. */
  readonly isSaid: boolean;
  /** Adds a function that must resolve first; too late once it is ready. */
  add(check: Check): void;
  /** It would be ready now. */
  ready(): void;
  /** The master asks: it would be ready now, if it is a program that listens nowhere. */
  readyUnlessServer(): void;
  /** Called when it has been said. */
  onSaid: () => void;
}

/** What readiness needs. */
export interface ReadinessHost {
  readonly terms: HealthTerms;
  readonly servers: Servers;
  readonly drain: Drain;
  tell(message: FromWorker): void;
  /** Right after it was said. */
  onReady(): void;
}

/** Prepares to say it. */
export function prepareReadiness(host: ReadinessHost): Readiness {
  const { terms, servers } = host;
  const checks: Check[] = [];
  let isServer = false;
  let isProving = false;
  let isSaid = false;
  const say = () => {
    const isQuiet = !isServer && !servers.areServing;
    isSaid = !isQuiet;
    host.tell(isQuiet ? { type: 'ready', isQuiet } : { type: 'ready' });
    readiness.onSaid();
    if (!isQuiet) host.onReady();
  };
  const isGuarded = () => !isSaid && (terms.requests.length > 0 || checks.length > 0);
  const sayWhenProved = () => {
    if (!isGuarded()) return say();
    if (isProving) return;
    isProving = true;
    void prove(host, checks, say).finally(() => {
      isProving = false;
    });
  };
  const readiness: Readiness = {
    get isGuarded() {
      return isGuarded();
    },
    get isSaid() {
      return isSaid;
    },
    add: (check) => void checks.push(check),
    ready() {
      isServer = true;
      sayWhenProved();
    },
    readyUnlessServer: sayWhenProved,
    onSaid() {},
  };
  return readiness;
}

async function prove({ terms, servers, drain, tell }: ReadinessHost, checks: readonly Check[], say: () => void): Promise<void> {
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
}
