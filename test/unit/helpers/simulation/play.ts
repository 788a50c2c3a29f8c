/** One play: a master starts, does what the story is about, and is ended, while what is planned goes wrong. In the end a reload must succeed. */
import { describeCall, type Plan } from './calls.ts';
import { breachesAtRest, breachesAtTheEnd } from './laws.ts';
import { World, type WorldOptions } from './world.ts';

const CONNECTIONS = 6;
/** Some clients have a request under way when the old workers are told to drain. */
const BUSY_MS = 500;
const REST_MS = 2_000;
/** New workers are getting ready by then. */
const SOON_MS = 80;

export const stories = ['a reload', 'two reloads at once', 'a reload of code that does not work', 'a stop during a reload'] as const;
export type Story = (typeof stories)[number];

/** What came of it. */
export interface Played {
  readonly world: World;
  /** Of the first laws that were broken, and when; empty: all is well. */
  readonly breaches: readonly string[];
}

export async function play(story: Story, options: WorldOptions): Promise<Played> {
  using world = new World(options);
  const breaches = await new Play(world).run(story);
  return { world, breaches };
}

/** For people: what was planned, and what was broken. */
export function tell({ world, breaches }: Played, plan: Plan): string {
  const planned = [...plan].map(([at, fault]) => {
    const call = world.calls.made[at - 1];
    return `call ${at}, ${call ? describeCall(call) : 'never made'}: ${fault}`;
  });
  return [...planned, ...breaches.map((breach) => `    ${breach}`)].join('\n');
}

class Play {
  readonly #world: World;
  #requests = 0;

  constructor(world: World) {
    this.#world = world;
  }

  async run(story: Story): Promise<readonly string[]> {
    const world = this.#world;
    this.#requests = 1;
    await world.begin();
    await world.until(() => this.#isAnswered() || this.#hasEnded());
    if (world.linesOf('reload-committed').length === 0) return this.#failedStart();
    world.callsAtStart = world.calls.made.length;
    world.isServing = true;
    for (let count = 0; count < CONNECTIONS; count++) world.connect(count % 3 === 0 ? BUSY_MS : 0);
    if (story === 'a stop during a reload') {
      this.#ask();
      await world.until(() => false, SOON_MS);
      return this.#stop();
    }
    if (story === 'a reload of code that does not work') world.brokenGeneration = 2;
    if (story === 'two reloads at once') this.#ask();
    return this.#reloads();
  }

  /** One, and others until nothing goes wrong during one of them: that must succeed. */
  async #reloads(): Promise<readonly string[]> {
    const world = this.#world;
    for (let count = 1; ; count++) {
      const before = world.calls.struck;
      this.#ask();
      if (!(await world.until(() => this.#isAnswered()))) return ['the reload has no outcome'];
      const hasCommitted = world.linesOf('reload-finished').at(-1)?.['outcome'] === 'committed';
      const breaches = (await this.#rest()).map((breach) => `after reload ${count}: ${breach}`);
      const mayFail = world.calls.struck > before || (count === 1 && world.brokenGeneration !== undefined);
      if (!hasCommitted && !mayFail) breaches.push(`reload ${count} did not succeed`);
      if (breaches.length > 0) return breaches;
      if (count > 1 && hasCommitted && world.calls.struck === before) return this.#stop();
      if (count === 1 && world.calls.struck === 0 && world.brokenGeneration === undefined) return this.#stop();
    }
  }

  /** All that is to come has come. */
  async #rest(): Promise<string[]> {
    await this.#world.until(() => this.#world.timers.size === 0 && breachesAtRest(this.#world, this.#requests).length === 0);
    await this.#world.until(() => false, REST_MS);
    return breachesAtRest(this.#world, this.#requests);
  }

  async #stop(): Promise<readonly string[]> {
    this.#world.isServing = false;
    this.#world.signal('SIGTERM');
    return this.#end((code) => code === 0);
  }

  /** Something went wrong at once: then nothing is to be left. */
  async #failedStart(): Promise<readonly string[]> {
    const world = this.#world;
    if (world.calls.struck === 0) return ['it did not start'];
    if (!this.#isAnswered()) this.#requests = 0; // it was refused before it began
    return this.#end((code) => code !== 0);
  }

  async #end(isRight: (exitCode: number) => boolean): Promise<readonly string[]> {
    const world = this.#world;
    if (!(await world.until(() => this.#hasEnded()))) return ['it does not end'];
    await world.until(() => false, REST_MS);
    const wrong = isRight(world.exitCode as number) ? [] : [`it ended with ${world.exitCode}`];
    return [...wrong, ...breachesAtTheEnd(world, this.#requests)].map((breach) => `in the end: ${breach}`);
  }

  #ask(): void {
    this.#requests++;
    this.#world.signal('SIGHUP');
  }

  #isAnswered(): boolean {
    return this.#world.linesOf('reload-finished').some((line) => (line['requests'] as number[]).includes(this.#requests));
  }

  #hasEnded(): boolean {
    return this.#world.exitCode !== undefined;
  }
}
