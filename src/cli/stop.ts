/** `graceful-super stop`: waits until the master has drained and ended. */
import { readlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { exitCodes } from '../errors.ts';
import { isAnswered } from '../unix-socket.ts';
import { findMaster, post } from './client.ts';

const LOOK_AGAIN_MS = 20;

/** @returns 0 when the master has ended gracefully, `forced` when it was stopped at once meanwhile */
export async function stop(argv: Readonly<Record<string, unknown>>): Promise<number> {
  const master = await findMaster(argv);
  // the entry behind the name is this master's alone: a successor may take the name at once
  const entry = join(dirname(master.socketPath), readlinkSync(master.socketPath));
  const last = await post(master, '/stop', ({ text }) => process.stdout.write(`${text}\n`));
  // a start that follows must not find the name taken
  while (await isAnswered(entry)) await setTimeout(LOOK_AGAIN_MS);
  const isForced = last?.type === 'stopped' && last.exitCode === exitCodes.forced;
  process.stdout.write(`stopped${isForced ? ' at once' : ''}: ${master.name}\n`);
  return isForced ? exitCodes.forced : 0;
}
