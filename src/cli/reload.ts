/** `graceful-super reload`: waits for the outcome and tells it. */
import { exitCodes, GracefulError } from '../errors.ts';
import { findMaster, post } from './client.ts';

/** @returns 0 when the new generation serves */
export async function reload(argv: Readonly<Record<string, unknown>>): Promise<number> {
  const master = await findMaster(argv);
  const last = await post(master, '/reload', ({ event, text }) => {
    if (event !== 'reload-finished') process.stdout.write(`${text}\n`);
  });
  if (last?.type !== 'outcome') throw new GracefulError('control-failed', `master "${master.name}" ended during the reload`);
  const { isCommitted, text } = last;
  (isCommitted ? process.stdout : process.stderr).write(`${text}\n`);
  return isCommitted ? 0 : exitCodes['reload-failed'];
}
