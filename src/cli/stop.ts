/** `graceful-super stop`: waits until the master has drained and ended. */
import { findMaster, post } from './client.ts';

/** @returns 0 when the master is gone */
export async function stop(argv: Readonly<Record<string, unknown>>): Promise<number> {
  const master = await findMaster(argv);
  await post(master, '/stop', ({ text }) => process.stdout.write(`${text}\n`));
  process.stdout.write(`stopped: ${master.name}\n`);
  return 0;
}
