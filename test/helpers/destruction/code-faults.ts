/** Reloads: of good code, one or a flood of them, and of code that is no good. */
import { type AddressInfo, createServer } from 'node:net';
import type { Dice } from './dice.ts';
import type { Fault } from './fault.ts';
import { GOOD, type Release } from './place.ts';
import { pause, type World } from './world.ts';

/** How long code may take that is never ready. */
export const NEVER_READY_MS = 800;

export const codeFaults: readonly Fault[] = [
  { name: 'reload', run: async ({ rig }) => rig.signal('SIGHUP') },
  { name: 'flood of reloads', run: flood },
  refused('code that throws', { script: 'throws-at-start.cjs' }),
  refused('code that exits with 0', { script: 'exits-before-ready.cjs' }),
  refused('code that is never ready', { script: 'never-ready.cjs', readyTimeout: `${NEVER_READY_MS}ms` }),
  refused('a syntax error', { script: 'broken/syntax-error.cjs' }),
  refused('code that is not there', { script: 'missing.cjs' }),
  refused('a configuration that is none', 'nonsense'),
  { name: 'a port that is taken', run: takenPort },
  { name: 'slow code', run: (world) => swap(world, { script: 'misbehaves.mjs', env: { MISBEHAVES: 'slow' } }) },
  { name: 'code that blocks', run: (world) => swap(world, { script: 'misbehaves.mjs', env: { MISBEHAVES: 'blocks' } }) },
  { name: 'code that leaks', run: leak },
];

async function flood(world: World, dice: Dice): Promise<void> {
  const asked = Array.from({ length: dice.number(5, 60) }, async () => {
    await pause(dice.number(0, 400));
    if (dice.may(0.5)) world.rig.signal('SIGHUP');
    else await world.reload();
  });
  await Promise.all(asked);
}

/** A release that must be refused, whatever else happens. */
function refused(name: string, release: Release | 'nonsense'): Fault {
  return {
    name,
    async run(world) {
      world.place.deploy(release);
      if ((await world.reload()) === true) world.complain(`${name} was committed`);
      world.place.deploy(GOOD);
    },
  };
}

async function takenPort(world: World): Promise<void> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const release = { script: 'misbehaves.mjs', env: { MISBEHAVES: 'takes-port', WANTED: String(port) } };
  world.place.deploy(release);
  if ((await world.reload()) === true) world.complain('code was committed whose port is taken');
  await new Promise((resolve) => server.close(resolve));
  await world.reload();
  world.place.deploy(GOOD);
}

async function swap(world: World, release: Release): Promise<void> {
  world.place.deploy(release);
  await world.reload();
  world.place.deploy(GOOD);
}

/** Its workers die when their heap is full, and take their connections along. */
async function leak(world: World, dice: Dice): Promise<void> {
  await swap(world, { script: 'misbehaves.mjs', env: { MISBEHAVES: 'leaks' }, nodeArg: ['--max-old-space-size=24'] });
  await pause(dice.number(200, 1_500));
}
