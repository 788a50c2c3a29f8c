/** What a master needs from its machine is taken away for a while: room, descriptors, processes, a reader, the right time. */
import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { descriptors } from '../rig.ts';
import type { Dice } from './dice.ts';
import type { Fault } from './fault.ts';
import { pause, type World } from './world.ts';

export const scarcities: readonly Fault[] = [
  { name: 'full disk', isPossible: ({ abilities }) => abilities.disk, run: fillDisk },
  { name: 'log rotation', isPossible: ({ log }) => log === 'file', run: rotateLog },
  { name: 'no descriptors', isPossible: ({ abilities }) => abilities.limits, run: squeezeDescriptors },
  { name: 'no processes', isPossible: ({ abilities }) => abilities.processLimit, run: squeezeProcesses },
  { name: 'stalled reader of the log', isPossible: ({ abilities, log }) => abilities.reader && log === 'pipe', run: stallReader },
  { name: 'clock that jumps', isPossible: ({ clock }) => clock !== undefined, run: jump },
];

const LONGEST_MS = 1_500;

/** Most of it while workers start. */
async function whileReloading(world: World, dice: Dice): Promise<void> {
  for (let reload = dice.number(0, 3); reload > 0; reload--) {
    await pause(dice.number(0, 200));
    world.rig.signal('SIGHUP');
  }
  await pause(dice.number(200, LONGEST_MS));
}

async function fillDisk(world: World, dice: Dice): Promise<void> {
  const makeRoom = world.place.fill();
  await talk(world);
  await whileReloading(world, dice);
  makeRoom();
}

/** The master logs more than what is left of the last block of its log. */
async function talk({ rig }: World): Promise<void> {
  for (let line = 0; line < 60; line++) {
    rig.signal('SIGUSR2'); // has no meaning, and is told so
    await pause(2);
  }
}

async function rotateLog({ place, rig }: World, dice: Dice): Promise<void> {
  for (let turn = dice.number(1, 5); turn > 0; turn--) {
    renameIfThere(place.logFile, `${place.logFile}.${dice.number(1, 9)}`);
    rig.signal('SIGUSR1');
    await pause(dice.number(0, 200));
  }
}

function renameIfThere(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch {
    // ENOENT: the log was not opened anew since the last time
  }
}

async function squeezeDescriptors(world: World, dice: Dice): Promise<void> {
  const [soft, hard] = limitOf(world, 'Max open files');
  world.isDeaf = true;
  limit(world, `--nofile=${descriptors(world.rig.pid).length + dice.number(0, 8)}:${hard}`);
  await whileReloading(world, dice);
  limit(world, `--nofile=${soft}:${hard}`);
}

async function squeezeProcesses(world: World, dice: Dice): Promise<void> {
  const [soft, hard] = limitOf(world, 'Max processes');
  limit(world, `--nproc=1:${hard}`);
  await whileReloading(world, dice);
  limit(world, `--nproc=${soft}:${hard}`);
}

/** As the user of the master: a root without CAP_SYS_RESOURCE may not. */
function limit({ rig, place }: World, flag: string): void {
  const [command = '', ...args] = [...place.abilities.become, 'prlimit', '--pid', String(rig.pid), flag];
  execFileSync(command, args);
}

function limitOf({ rig }: World, name: string): [string, string] {
  const [, soft = '', hard = ''] = new RegExp(`^${name}\\s+(\\S+)\\s+(\\S+)`, 'm').exec(readFileSync(`/proc/${rig.pid}/limits`, 'utf8')) ?? [];
  return [soft, hard];
}

/** Its pipe is full at once, by blank lines. */
async function stallReader(world: World, dice: Dice): Promise<void> {
  const reader = readerOf(world.rig.pid);
  if (reader === undefined) throw new Error('nobody reads the log');
  process.kill(reader, 'SIGSTOP');
  const pipe = openSync(`/proc/${world.rig.pid}/fd/2`, constants.O_WRONLY | constants.O_NONBLOCK);
  try {
    for (;;) writeSync(pipe, '\n'.repeat(4_096));
  } catch {
    // EAGAIN: it is full
  } finally {
    closeSync(pipe);
  }
  await whileReloading(world, dice);
  process.kill(reader, 'SIGCONT');
}

function readerOf(master: number): number | undefined {
  const children = readFileSync(`/proc/${master}/task/${master}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);
  return children.find((pid) => readFileSync(`/proc/${pid}/comm`, 'utf8') === 'cat\n');
}

/** Nothing that the master does hangs on the time of day: neither what it waits for nor how long. */
async function jump(world: World, dice: Dice): Promise<void> {
  for (let jumps = dice.number(1, 4); jumps > 0; jumps--) {
    if (dice.may(0.7)) world.rig.signal('SIGHUP');
    await pause(dice.number(0, 500));
    world.place.clock?.set(dice.pick(['+10d', '-10d', '+20y', '-20y', '+1h', '-1h', '+0']));
    await pause(dice.number(0, 500));
  }
}
