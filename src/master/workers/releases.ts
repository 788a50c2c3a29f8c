/** Generations: what each was configured by and is started from. */
import type { Config } from '../../config/config.ts';
import type { Policy } from '../../core/event.ts';
import { GracefulError } from '../../errors.ts';
import type { Listeners } from '../listeners/listeners.ts';
import { policyOf } from './policy.ts';
import type { Order } from './pool.ts';
import { isStillThere, type Launch, type Origin, resolveLaunch } from './release.ts';

interface Release {
  readonly config: Config;
  readonly launch: Launch;
}

/** What releases are resolved by. */
export interface ReleasesHost {
  /** Of the first generation. */
  readonly config: Config;
  readonly launch: Launch;
  readonly origin: Origin;
  readonly listeners: Listeners;
  /** Reads the configuration anew. */
  loadConfig(): Promise<Config>;
}

/** All generations that have workers, and the one that a rollback would bring back. */
export class Releases {
  readonly #host: ReleasesHost;
  readonly #known = new Map<number, Release>();

  constructor(host: ReleasesHost) {
    this.#host = host;
  }

  /** @param from null: what is configured now; else the generation whose release it is again @throws a bad configuration, a missing file, a port that is taken */
  async resolve(generation: number, from: number | null, serving: number): Promise<{ policy: Policy; dropped: string[] }> {
    const release = from === null ? await this.#read(generation) : this.#bringBack(from);
    const { listeners } = this.#host;
    const hasSockets = listeners.unused.length > 0 || (generation === 1 && listeners.describe(generation).length > 0); // of systemd
    await listeners.hold(release.config.listen, generation);
    this.#known.set(generation, release);
    const before = this.#known.get(serving);
    return { policy: policyOf(release.config, hasSockets), dropped: before ? this.#host.listeners.namedOnlyBy(wordsOf(before), wordsOf(release)) : [] };
  }

  configOf(generation: number): Config | undefined {
    return this.#known.get(generation)?.config;
  }

  /** What a worker of a generation is started by. Should its files be gone, what its paths lead to now is the best there is. */
  order(generation: number): Order | Promise<Order> {
    const { config, launch } = this.#known.get(generation) as Release;
    const { idleGrace: idleGraceMs, drainTimeout: drainTimeoutMs, killTimeout: killTimeoutMs, linger: lingerMs } = config;
    const times = { idleGraceMs, drainTimeoutMs, killTimeoutMs, lingerMs };
    const preflight = { requests: config.preflight, statuses: config.preflightStatus, timeoutMs: config.preflightTimeout };
    const { waitReady, backlog, overlap } = config;
    const order = { waitReady, preflight, times, handoffTls: config.handoff && config.handoffTls, backlog, isAlone: !overlap };
    if (isStillThere(launch)) return { ...order, launch };
    return resolveLaunch(config, this.#host.origin).then((current) => ({ ...order, launch: current }));
  }

  /** Forgets all others. */
  keep(generations: readonly number[]): void {
    for (const generation of this.#known.keys()) if (!generations.includes(generation)) this.#known.delete(generation);
  }

  async #read(generation: number): Promise<Release> {
    if (generation === 1) return this.#host;
    const config = await this.#host.loadConfig();
    return { config, launch: await resolveLaunch(config, this.#host.origin) };
  }

  #bringBack(from: number): Release {
    const release = this.#known.get(from);
    if (release && isStillThere(release.launch)) return release;
    const what = release ? `${release.launch.script} and its folder` : 'its configuration';
    throw new GracefulError('release-gone', `cannot go back to generation ${from}: ${what} is no longer there`, {
      hint: 'deploy the old code again, and reload',
    });
  }
}

/** All that is said to a program by its configuration; what the master's own environment says is the same for every generation. */
function wordsOf({ config, launch }: Release): string[] {
  const variables = Object.entries(launch.env).map(([name, value]) => `${name}=${value}`);
  return [...launch.args, ...variables, ...config.listen.map((spec) => JSON.stringify(spec))];
}
