/** `graceful-super stop`: waits until the master has drained and ended. */
import { setTimeout } from 'node:timers/promises';
import { isAlive } from '../master/claim.ts';
import { findMaster, post } from './client.ts';

const LOOK_AGAIN_MS = 20;

/** @returns 0 when the master is gone */
export async function stop(argv: Readonly<Record<string, unknown>>): Promise<number> {
  const master = await findMaster(argv);
  await post(master, '/stop', ({ text }) => process.stdout.write(`${text}\n`));
  // the name is free when nobody answers any more: a start that follows must not find it taken
  while (await isAlive(master.socketPath)) await setTimeout(LOOK_AGAIN_MS);
  process.stdout.write(`stopped: ${master.name}\n`);
  return 0;
}
