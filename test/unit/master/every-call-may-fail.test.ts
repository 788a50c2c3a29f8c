/**
 * Whatever a master asks of the kernel may fail, and whatever a worker says may be its last word: each of them once, in each story, and in pairs. A real
 * master, in a simulated world (test/unit/helpers/simulation); what must hold afterwards stands in its laws.ts. See docs/testing.md.
 */
import assert from 'node:assert/strict';
import { after, mock, test } from 'node:test';
import { Dice } from '../../helpers/destruction/dice.ts';
import { makeFolder } from '../helpers/folder.ts';
import { type Call, describeCall, faultsOf, type Plan } from '../helpers/simulation/calls.ts';
import { type Played, play, type Story, stories, tell } from '../helpers/simulation/play.ts';

const { SEED = '1', PAIRS = '100' } = process.env;
const MOST_TOLD = 3;
/** The end of a process is told before its last words are read, or after. */
const FIRST_MS = 1;
const LAST_MS = 5;

mock.method(Math, 'random', () => 0.5); // the same again with the same faults
const nothing: Plan = new Map();
const folder = makeFolder();
after(() => folder[Symbol.dispose]());

function playOut(story: Story, plan: Plan, exitIsToldAfterMs: number = FIRST_MS): Promise<Played> {
  return play(story, { plan, folder: folder.path, exitIsToldAfterMs });
}

/** Plays each of them. @returns in words what went wrong in the first few */
async function broken(story: Story, plans: Iterable<readonly [plan: Plan, exitIsToldAfterMs: number]>): Promise<string> {
  const told: string[] = [];
  for (const [plan, exitIsToldAfterMs] of plans) {
    const played = await playOut(story, plan, exitIsToldAfterMs);
    if (played.breaches.length > 0) told.push(tell(played, plan));
    if (told.length >= MOST_TOLD) break;
  }
  return told.join('\n');
}

function* oneFault(calls: readonly Call[], from: number): Iterable<readonly [Plan, number]> {
  for (const [index, call] of calls.entries()) {
    if (index < from) continue;
    for (const fault of faultsOf(call)) {
      for (const ms of fault.startsWith('it dies') ? [FIRST_MS, LAST_MS] : [FIRST_MS]) yield [new Map([[index + 1, fault]]), ms];
    }
  }
}

for (const story of stories) {
  test(`${story}: any one call may fail`, async () => {
    const { breaches, world } = await playOut(story, nothing);
    assert.deepEqual(breaches, [], 'all is well where nothing fails');
    const from = story === stories[0] ? 0 : world.callsAtStart; // every story begins like the first
    assert.equal(await broken(story, oneFault(world.calls.made, from)), '');
  });
}

test(`any two calls may fail (SEED=${SEED} PAIRS=${PAIRS})`, async () => {
  const dice = new Dice(Number(SEED));
  for (let pair = 0; pair < Number(PAIRS); pair++) {
    const story = dice.pick(stories);
    const exitIsToldAfterMs = dice.pick([FIRST_MS, LAST_MS]);
    const plan = new Map<number, string>();
    for (let after = 0; plan.size < 2; ) {
      // the second among those that are made where the first has failed
      const { made } = (await playOut(story, plan, exitIsToldAfterMs)).world.calls;
      if (made.length <= after) break;
      const at = dice.number(after + 1, made.length);
      plan.set(at, dice.pick(faultsOf(made[at - 1] as Call)));
      after = at;
    }
    assert.equal(await broken(story, [[plan, exitIsToldAfterMs]]), '', `${story}, pair ${pair}`);
  }
});

test('a worker whose listener does not reach it is told so', async () => {
  const { made } = (await playOut('a reload', nothing)).world.calls;
  const at = made.findLastIndex(({ what }) => what === 'listener') + 1;
  const { world, breaches } = await playOut('a reload', new Map([[at, 'its handle is lost']]));
  assert.deepEqual(breaches, []);
  assert.match(world.linesOf('reload-finished')[1]?.text ?? '', /listen EMFILE/);
});

test('the same faults lead to the same story', async () => {
  const plan: Plan = new Map([[20, 'it dies']]);
  const [one, other] = [await playOut('a reload', plan), await playOut('a reload', plan)].map(({ world }) => world.calls.made.map(describeCall));
  assert.deepEqual(one, other);
});
