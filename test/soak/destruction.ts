/**
 * Masters tested to destruction: faults of every kind at random, under load, and nothing lost but with whom was killed.
 * `SEED=… ROUNDS=… npx tsx test/soak/destruction.ts` after a build repeats a run; see docs/testing.md.
 */
import { seed } from '../helpers/chaos.ts';
import { findAbilities } from '../helpers/destruction/abilities.ts';
import { destroyOne } from '../helpers/destruction/destroy.ts';

const ROUNDS = Number(process.env['ROUNDS'] ?? 120);
const EPISODES = ROUNDS < 80 ? 2 : 4;
/** `3.11`: only that round of that episode, ROUNDS times. */
const ONLY = process.env['ONLY']?.split('.').map(Number);

const say = (line: string) => console.log(line);
const abilities = findAbilities();
for (const reason of abilities.reasons) say(`left out: ${reason}`);
say(`SEED=${seed} ROUNDS=${ROUNDS}`);
if (ONLY) await play(ONLY[0] as number, new Array<number>(ROUNDS).fill(ONLY[1] as number));
else
  for (let episode = 1; episode <= EPISODES; episode++)
    await play(
      episode,
      Array.from({ length: Math.ceil(ROUNDS / EPISODES) }, (_, index) => index + 1),
    );
say('nothing was lost but what the killed owned, and nothing is left');

function play(episode: number, rounds: readonly number[]): Promise<void> {
  return destroyOne(episode % 2 === 1 ? 'pipe' : 'file', episode, { seed, rounds, abilities, say });
}
