/**
 * Does everything to masters that might hurt them, in an order that a seed decides, while clients keep account. After each round the master must
 * have come to rest as if nothing had been: a reload succeeds, its workers serve, nobody has lost anything but those whose worker was
 * killed, nothing is left over.
 */
import { assertLostBy, calm } from '../chaos.ts';
import { descriptors, type LoggedEvent, poll, residentMemory } from '../rig.ts';
import type { Abilities } from './abilities.ts';
import { codeFaults, NEVER_READY_MS } from './code-faults.ts';
import { Dice } from './dice.ts';
import type { Fault } from './fault.ts';
import { Ledger } from './ledger.ts';
import { GOOD, type LogKind, Place, WORKERS } from './place.ts';
import { scarcities } from './scarcity.ts';
import { strikes } from './strikes.ts';
import { visits } from './visitors.ts';
import { pause, World } from './world.ts';

/** Connections of each kind that stay. */
const EACH = 20;
const PASSERS = 5;
const WARM_UP_ROUNDS = 4;
const MEMORY_GROWTH = 16 * 2 ** 20;
/** Later strikes begin while the earlier ones last. */
const LONGEST_DELAY_MS = 400;
/** Of the log, that a failure shows. */
const LAST_LINES = 80;
const LONGEST_REASON = 4_000;

export interface Course {
  readonly seed: number;
  /** Their numbers, for each master. */
  readonly rounds: readonly number[];
  readonly abilities: Abilities;
  say(line: string): void;
}

/** The life and end of one master. @throws AssertionError, Error: what was lost, left over, or never came */
export async function destroyOne(log: LogKind, episode: number, { seed, rounds, abilities, say }: Course): Promise<void> {
  using place = new Place(log, abilities);
  const world = await World.start(place);
  try {
    await calm(world.rig, WORKERS);
    await world.reload();
    await calm(world.rig, WORKERS);
    const before = descriptors(world.rig.pid).length;
    let warm = 0;
    for (const round of rounds) {
      const name = `episode ${episode} (log to a ${log}), round ${round}`;
      say(`${name}: ${await playRound(world, new Dice(seed * 10_000 + episode * 1_000 + round), name)}`);
      await poll(
        () => descriptors(world.rig.pid).length <= before,
        () => `${name}: the master had ${before} descriptors, now ${descriptors(world.rig.pid).join(' ')}`,
      );
      if (round === WARM_UP_ROUNDS) warm = residentMemory(world.rig.pid);
    }
    const growth = warm === 0 ? 0 : residentMemory(world.rig.pid) - warm;
    if (growth > MEMORY_GROWTH) throw new Error(`the master grew by ${growth} bytes after round ${WARM_UP_ROUNDS}`);
    say(`episode ${episode}: ${await end(world, new Dice(seed * 10_000 + episode))}; the master grew by ${Math.round(growth / 1024)} KiB`);
  } finally {
    world.crowd[Symbol.dispose]();
    await world.rig.kill();
  }
}

/** @returns what was done, and what it cost */
async function playRound(world: World, dice: Dice, name: string): Promise<string> {
  const faults = chooseFaults(dice, world.place);
  const title = faults.map((fault) => fault.name).join(' + ');
  try {
    world.ledger = new Ledger(world.rig.stdout.length);
    world.isDeaf = false;
    await world.crowd.fill(EACH);
    world.crowd.talk();
    world.passers.start(PASSERS);
    await Promise.all(
      faults.map(async (fault) => {
        const own = dice.split();
        await pause(own.number(0, LONGEST_DELAY_MS));
        await fault.run(world, own);
      }),
    );
    await recover(world);
    return `${title}: ${await account(world)}`;
  } catch (error) {
    throw new Error(`${name}, ${title}\n${await describe(world, error)}`);
  }
}

/** The end of the log, the master's status, and what went wrong. */
async function describe({ rig, place }: World, error: unknown): Promise<string> {
  const log = (place.log === 'file' ? place.logged() : rig.events).slice(-LAST_LINES).map((event) => JSON.stringify(event));
  const status = await rig.status().then(({ workers, reload }) => JSON.stringify({ workers, reload }), String);
  const why = String(error instanceof Error ? error.stack : error).replace(/^ *(accepted|adopted) .*\n/gm, '');
  return [...log, status, why.slice(0, LONGEST_REASON)].join('\n');
}

function chooseFaults(dice: Dice, place: Place): Fault[] {
  const possible = scarcities.filter(({ isPossible }) => isPossible?.(place) ?? true);
  return [
    dice.pick(codeFaults),
    ...Array.from({ length: dice.number(0, 2) }, () => dice.pick(strikes)),
    ...(dice.may(0.5) ? [dice.pick(possible)] : []),
    ...(dice.may(0.5) ? [dice.pick(visits)] : []),
  ];
}

/** Nothing is wrong any more, so good code must be taken, and peace return. */
async function recover(world: World): Promise<void> {
  world.isDeaf = false;
  world.place.deploy(GOOD);
  if ((await world.reload()) !== true) world.complain('a reload of good code failed after all was well again');
  await calm(world.rig, WORKERS);
  await world.passers.rest();
  await world.crowd.rest();
}

async function account(world: World): Promise<string> {
  const { rig, crowd, passers, ledger } = world;
  for (const [, pid] of rig.stdout.slice(ledger.told).matchAll(/^leaks (\d+)$/gm)) ledger.condemn(Number(pid), 0);
  const lost = await assertLostBy(rig, crowd, ledger.pids);
  const passed = await passers.judge(ledger);
  world.complaints.push(...passed.complaints);
  await crowd.askAll();
  world.complaints.push(...crowd.mistakes);
  if (world.place.log === 'file') await world.place.untilLogged('reload-committed', (await rig.status()).generation);
  const logged = [...rig.events, ...(world.place.log === 'file' ? world.place.logged() : [])];
  world.complaints.push(...logged.filter(isAlarming).map((event) => JSON.stringify(event)));
  await poll(
    () => rig.processes().length === 1 + WORKERS,
    () => `there are processes beside the master and its workers: ${rig.processes()}`,
  );
  if (world.complaints.length > 0) throw new Error(world.complaints.join('\n'));
  return `${ledger.pids.size} condemned, ${lost + passed.lost} connections lost with them, ${passers.answered} passers answered so far`;
}

/** Nobody lives so long that a timeout could have passed, but code that is never ready. */
function isAlarming({ event, failure }: LoggedEvent): boolean {
  const timeoutMs = (failure as { timeoutMs?: number } | undefined)?.timeoutMs;
  return event === 'internal-error' || event === 'worker-overran' || (event === 'worker-unfit' && timeoutMs !== NEVER_READY_MS);
}

/** The end of a master, in one of the ways in which they end. @returns how */
async function end(world: World, dice: Dice): Promise<string> {
  const { rig, crowd, place } = world;
  const [signal, isReloading, isTwice] = [dice.pick(['SIGTERM', 'SIGKILL'] as const), dice.may(0.5), dice.may(0.3)];
  crowd[Symbol.dispose]();
  if (isReloading) {
    rig.signal('SIGHUP');
    await pause(dice.number(0, 600));
  }
  rig.signal(signal);
  if (isTwice) rig.signal(signal);
  const { code } = await rig.finished;
  await rig.gone();
  const codes: (number | null)[] = signal === 'SIGKILL' ? [null] : isTwice ? [0, 130] : [0];
  if (!codes.includes(code)) throw new Error(`${signal} ended the master with ${code}`);
  if (place.leftovers().length > 0) throw new Error(`after ${signal} there is left: ${place.leftovers()}`);
  return `${signal}${isTwice ? ' twice' : ''}${isReloading ? ' while it reloads' : ''}, nothing left`;
}
