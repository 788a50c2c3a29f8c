/** Every call of the kernel that a master makes, and every word of a worker, in their order; and what can go wrong with each. */
import type { SimulatedProcess } from './process.ts';
import type { World } from './world.ts';

export type Kind =
  | 'fork'
  | 'open tickets'
  | 'issue a ticket'
  | 'recall tickets'
  | 'name'
  | 'send'
  | 'send a handle'
  | 'hear'
  | 'hear of a handle'
  | 'kill'
  | 'kill a group'
  | 'bind'
  | 'read the configuration';

const ofProcess: readonly string[] = ['it dies', 'it is stopped for 3 s', 'it is stopped for 60 s'];
const ofMaster: readonly string[] = ['the master is stopped for 3 s', 'the master is stopped for 60 s'];

const faults: Readonly<Record<Kind, readonly string[]>> = {
  fork: ['it throws', 'it never begins', 'it dies at once', 'it hangs', ...ofMaster],
  'open tickets': ['no space'],
  'issue a ticket': ['no space'],
  'recall tickets': ['they are not to be read'],
  name: ['it dies'],
  send: [...ofProcess, 'the channel closes'],
  'send a handle': [...ofProcess, 'the channel closes', 'its handle is lost'],
  hear: [...ofProcess, 'it dies after it', ...ofMaster],
  'hear of a handle': [...ofProcess, 'it dies after it', 'its handle is lost', ...ofMaster],
  kill: ['it dies', 'it is not permitted'],
  'kill a group': ['it dies', 'it is not permitted'],
  bind: ['in use', 'denied'],
  'read the configuration': ['it is none'],
};

/** Calls are numbered from 1. */
export type Plan = ReadonlyMap<number, string>;

export interface Call {
  readonly kind: Kind;
  /** With what, or what of. */
  readonly what: string;
  readonly process: SimulatedProcess | undefined;
}

export class Calls {
  readonly made: Call[] = [];
  /** Faults that have happened so far. */
  struck = 0;
  readonly #world: World;
  readonly #plan: Plan;

  constructor(world: World, plan: Plan) {
    this.#world = world;
    this.#plan = plan;
  }

  /** The next one. @returns what is wrong with it, to be seen to by whoever is called */
  next(kind: Kind, what: string, process?: SimulatedProcess): string | undefined {
    this.made.push({ kind, what, process });
    const fault = this.#plan.get(this.made.length);
    if (fault === undefined) return undefined;
    this.struck++;
    if (fault === 'it dies') process?.die(null, 'SIGSEGV');
    else if (fault.startsWith('it is stopped')) process?.stop(secondsIn(fault) * 1000);
    else if (fault.startsWith('the master is stopped')) this.#world.stopMaster(secondsIn(fault) * 1000);
    return fault;
  }
}

/** All that can go wrong with a call. */
export function faultsOf({ kind }: Call): readonly string[] {
  return faults[kind];
}

/** For people. */
export function describeCall({ kind, what, process }: Call): string {
  return `${kind} ${what}${process ? ` (${process.pid})` : ''}`;
}

function secondsIn(fault: string): number {
  return Number(/\d+/.exec(fault)?.[0]);
}
