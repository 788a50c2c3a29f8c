/**
 * Masters tested to destruction: faults of every kind at random, under load, and nothing lost but with whom was killed.
 * `SEED=… ROUNDS=… npx tsx test/soak/destruction.ts` after a build repeats a run; see docs/testing.md.
 */
import { seed } from '../helpers/chaos.ts';
import { findAbilities } from '../helpers/destruction/abilities.ts';
import { destroyOne } from '../helpers/destruction/destroy.ts';

const rounds = Number(process.env['ROUNDS'] ?? 120);
const EPISODES = rounds < 80 ? 2 : 4;

const abilities = findAbilities();
for (const reason of abilities.reasons) console.log(`left out: ${reason}`);
console.log(`SEED=${seed} ROUNDS=${rounds}`);
for (let episode = 1; episode <= EPISODES; episode++) {
  const course = { seed, rounds: Math.ceil(rounds / EPISODES), abilities, say: (line: string) => console.log(line) };
  await destroyOne(episode % 2 === 1 ? 'pipe' : 'file', episode, course);
}
console.log('nothing was lost but what the killed owned, and nothing is left');
