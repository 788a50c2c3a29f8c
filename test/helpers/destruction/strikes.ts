/** Signals to workers in every phase of their lives. */
import type { Dice } from './dice.ts';
import type { Fault } from './fault.ts';
import { pause, type World } from './world.ts';

/** A worker is struck when one has come so far; `any`: whoever is there, at any time. */
const phases = ['worker-spawned', 'worker-ready', 'worker-serving', 'worker-draining', 'worker-drained', 'any', 'any'] as const;

const EVENT_MS = 2_000;
/** Well below the time that a worker may take to be ready. */
const LONGEST_SLEEP_MS = 2_000;

type Weapon = (world: World, pid: number, dice: Dice) => Promise<void>;

export const strikes: readonly Fault[] = [
  strike('SIGKILL', async (world, pid) => {
    world.ledger.condemn(pid);
    send(pid, 'SIGKILL');
  }),
  strike('SIGSTOP and SIGCONT', async (_, pid, dice) => {
    send(pid, 'SIGSTOP');
    await pause(dice.may(0.3) ? dice.number(1, 50) : dice.number(50, LONGEST_SLEEP_MS));
    send(pid, 'SIGCONT');
  }),
  strike('SIGSTOP and SIGKILL', async (world, pid, dice) => {
    send(pid, 'SIGSTOP');
    await pause(dice.number(0, LONGEST_SLEEP_MS));
    world.ledger.condemn(pid);
    send(pid, 'SIGKILL');
  }),
  strike('SIGTERM', async (world, pid) => term(world, pid)),
  strike('SIGTERM twice', async (world, pid, dice) => {
    term(world, pid);
    await pause(dice.number(0, 100));
    term(world, pid);
  }),
];

function term({ ledger }: World, pid: number): void {
  ledger.tellToEnd(pid);
  send(pid, 'SIGTERM');
}

function strike(name: string, weapon: Weapon): Fault {
  return {
    name,
    async run(world, dice) {
      const phase = dice.pick(phases);
      const [delayMs, victims, first] = [dice.part() ** 2 * 60, dice.number(1, 2), dice.number(0, 7)];
      const reloads = dice.may(0.7);
      const awaited = phase === 'any' ? undefined : world.next(phase, EVENT_MS);
      if (reloads) world.rig.signal('SIGHUP');
      const event = await awaited;
      await pause(delayMs);
      const pids = await victimsOf(world, first, victims);
      const chosen = event?.['pid'] === undefined ? pids : [...new Set([event['pid'] as number, ...pids])].slice(0, victims);
      await Promise.all(chosen.map((pid) => weapon(world, pid, dice)));
    },
  };
}

/** Some of the workers there are, in whatever phase. */
async function victimsOf(world: World, first: number, count: number): Promise<number[]> {
  const status = await world.status();
  const pids = (status?.workers ?? []).flatMap(({ pid }) => pid ?? []);
  return [...pids.slice(first % Math.max(1, pids.length)), ...pids].slice(0, Math.min(count, pids.length));
}

/** Only to workers: one that has ended has not been reaped by anybody else, so its number is not given away within moments. */
function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // ESRCH: it has ended
  }
}
