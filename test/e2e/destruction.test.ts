import { test } from 'node:test';
import { findAbilities } from '../helpers/destruction/abilities.ts';
import { destroyOne } from '../helpers/destruction/destroy.ts';

const abilities = findAbilities();
/** The same each time; `npm run test:soak` looks for what others find. */
const SEED = 4602;
const ROUNDS = [1, 2, 3, 4];

for (const [index, log] of (['pipe', 'file'] as const).entries()) {
  test(`Tested to destruction, nothing is lost but what the killed owned, and nothing is left: log to a ${log}`, async (context) => {
    for (const reason of abilities.reasons) context.diagnostic(`left out: ${reason}`);
    await destroyOne(log, index + 1, { seed: SEED, rounds: ROUNDS, abilities, say: (line) => context.diagnostic(line) });
  });
}
