/** `graceful-super stop`: waits until the master has drained and ended. */
import { setTimeout } from 'node:timers/promises';
import { exitCodes } from '../errors.ts';
import { isAnswered } from '../unix-socket.ts';
import { findMaster, post } from './client.ts';
import { print } from './print.ts';

const LOOK_AGAIN_MS = 20;

/** @returns 0 when the master has ended gracefully, `forced` when it was stopped at once meanwhile */
export async function stop(argv: Readonly<Record<string, unknown>>): Promise<number> {
  const master = await findMaster(argv);
  const last = await post(master, '/stop', ({ text }) => print(text));
  // a start that follows must not find the name taken
  while (await isAnswered(master.socketPath)) await setTimeout(LOOK_AGAIN_MS);
  const isForced = last?.type === 'stopped' && last.exitCode === exitCodes.forced;
  print(`stopped${isForced ? ' at once' : ''}: ${master.name}`);
  return isForced ? exitCodes.forced : 0;
}
