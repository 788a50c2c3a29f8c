/**
 * Several contenders for a name in one process, for claim.test.ts: they begin when they are told to, and tell what came of
 * it. The winner keeps the name until it is told to give it back, or dies with it.
 */

import { GracefulError } from '../../../src/errors.ts';
import { type Claim, claimName, releaseClaim } from '../../../src/master/control/claim.ts';

const [folder = '', count = '1'] = process.argv.slice(2);
const won: Claim[] = [];

/** The id of a claim is made of pid and time: two of one process begin in different milliseconds. */
function begin(): Promise<Claim> {
  const before = Date.now();
  while (Date.now() === before);
  return claimName(folder, 'app');
}

async function contend(): Promise<string> {
  try {
    won.push(await begin());
    return 'won';
  } catch (error) {
    return error instanceof GracefulError ? error.code : String(error);
  }
}

process.on('message', async (order) => {
  if (order === 'claim') process.send?.(await Promise.all(Array.from({ length: Number(count) }, contend)));
  if (order === 'release') for (const claim of won) releaseClaim(claim);
  if (order === 'release') process.disconnect();
});
process.send?.('here');
