/** How many serve, and who is taken away: what must hold after every step while the fleet runs. */
import assert from 'node:assert/strict';
import type { Effect } from '../../../src/core/effect.ts';
import type { FleetEvent } from '../../../src/core/event.ts';
import { type Fleet, nextDeadline } from '../../../src/core/fleet.ts';
import { policyOf } from '../../../src/core/state.ts';
import { isGone, isWanted, type Worker } from '../../../src/core/worker-state.ts';
import type { Watch } from './world.ts';

/** Only an event of a worker's own makes fewer serve than are wanted, or than there were. */
export const thoseWhoServeSuffice: Watch = (before, event, after) => {
  if (after.phase !== 'running' || makesWay(before) || makesWay(after)) return;
  const had = serving(before).filter((worker) => !leaves(event, worker)).length;
  const has = serving(after).length;
  assert.ok(has >= Math.min(had, wanted(after)), `${event.type}: ${has} serve, ${had} did`);
};

/** No more serve than are wanted, and nobody is on his way who is not. */
export const nobodyIsTooMuch: Watch = (_before, _event, after) => {
  if (after.phase !== 'running' || after.generation === 0) return;
  assert.ok(serving(after).length <= wanted(after), `${serving(after).length} serve`);
  assert.ok(places(after).length <= wanted(after), `${places(after).length} are on their way`);
};

/** While the fleet runs, a worker of the committed generation is told to drain only because it ails, or is more than wanted; until the commit nobody else is. */
export const aReloadTakesNobodyAway: Watch = (before, event, after, effects) => {
  if (after.phase !== 'running' || makesWay(before) || makesWay(after)) return;
  for (const worker of serving(before)) {
    if (worker.generation !== after.generation || leaves(event, worker) || isDrained(worker, effects)) continue;
    assert.equal(after.workers.find(({ id }) => id === worker.id)?.phase, 'serving', `worker ${worker.id} is taken away by ${event.type}`);
  }
  const drained = [...before.workers, ...after.workers].filter((worker) => worker.generation === after.generation && isDrained(worker, effects));
  const healthy = new Set(drained.map(({ id }) => id).filter((id) => !ails(id, before, effects)));
  if (healthy.size > 0) assert.equal(places(after).length, wanted(after), `more than the surplus drains: ${[...healthy]}`);
};

/** Where nothing may run twice, nobody is started while there is a process of another generation, nor more than are wanted. */
export const nothingRunsTwice: Watch = (before, event, after, effects) => {
  const living = before.workers.filter((worker) => !isGone(worker) && !(event.type === 'worker-exited' && event.worker === worker.id));
  for (const effect of effects) {
    const { overlaps, workers } = policyOf(after, after.workers[0] ?? { generation: after.generation });
    if (effect.type !== 'spawn' || overlaps || policyOf(after, effect).overlaps) continue;
    assert.deepEqual(
      living.filter(({ generation }) => generation !== effect.generation).map(({ id }) => id),
      [],
      `beside worker ${effect.worker}`,
    );
    assert.ok(after.workers.length <= workers, `${after.workers.length} processes of ${workers}`);
  }
};

/** When the old generation is told to drain, the new one serves in full. */
export const aCommitBringsTheWantedWorkers: Watch = (before, _event, after) => {
  if (after.generation === before.generation || after.phase !== 'running') return;
  if (!makesWay(after)) return assert.equal(serving(after).length, wanted(after));
  // who ails by then drains at once
  const replaced = after.workers.filter(({ phase, generation }) => phase === 'draining' && generation === after.generation);
  assert.ok(serving(after).length + replaced.length >= wanted(after));
};

/** Of those that are too big or too old the next is replaced when the one before is gone, and everybody else serves. */
export function oneIsRecycledAtATime(): Watch {
  const recycled = new Set<number>();
  return (before, _event, after, effects) => {
    for (const id of recycled) if (after.workers.every((worker) => worker.id !== id || worker.generation !== after.generation)) recycled.delete(id);
    for (const effect of effects) {
      if (effect.type !== 'report' || effect.report.type !== 'worker-ailing' || !['memory', 'age'].includes(effect.report.ailment.reason)) continue;
      assert.equal(recycled.size, 0, 'two are recycled at once');
      assert.ok(before.reload === after.reload ? !('policy' in after.reload) : true, 'a reload is to replace all of them anyway');
      assert.equal(serving(after).filter((worker) => places(after).includes(worker)).length, wanted(after) - 1, 'not everybody else serves');
      recycled.add(effect.report.worker);
    }
  };
}

/** A fleet ends by itself when all have completed, or when it gives up while somebody is missing; nobody who is at work is disturbed by the former. */
export const theEndHasAReason: Watch = (before, event, after, effects) => {
  const gaveUp = effects.some((effect) => effect.type === 'report' && effect.report.type === 'gave-up');
  if (gaveUp) assert.equal(after.failure?.reason, 'crash-loop');
  if (gaveUp)
    assert.ok(
      places(before).filter((worker) => isDrained(worker, effects) && !ails(worker.id, before, effects)).length < wanted(before),
      'gave up though nobody is missing',
    );
  if (before.phase !== 'running' || after.phase === 'running' || event.type === 'stop-requested' || after.failure !== null) return;
  const { length } = after.completed;
  const isScaled = event.type === 'scale-requested'; // somebody may have given up what was missing
  const expected = after.generation === 0 && 'policy' in before.reload && !isScaled ? before.reload.policy.workers : after.policy.workers;
  assert.ok(length >= expected, `${length} of ${expected} have completed`);
  const own = before.workers.filter((worker) => isWanted(worker) && (before.generation === 0 || worker.generation === before.generation));
  const disturbed = own.filter((worker) => isDrained(worker, effects) && !ails(worker.id, before, effects)).map(({ id }) => id);
  // who drains by itself has its place until its end, which is how it completes
  const completing = before.workers.filter((worker) => worker.phase === 'draining' && event.type === 'worker-exited' && event.worker === worker.id);
  const surplus = own.length + completing.length - (expected - before.completed.length);
  assert.ok(disturbed.length <= Math.max(0, surplus), `${disturbed} had not completed`);
};

/** What waits for a time has been done when it has come. */
export const ticksDoWhatIsDue: Watch = (_before, event, after) => {
  if (event.type !== 'tick') return;
  if (after.phase !== 'ended') assert.ok(nextDeadline(after) > event.now, `the deadline ${nextDeadline(after)} stays, at ${event.now}`);
  const { loopingSince } = after.backoff;
  const { giveUpAfterMs } = after.policy;
  if ('policy' in after.reload || after.reload.phase === 'resolving') return; // it may mend the loop
  if (after.phase !== 'running' || loopingSince === null || giveUpAfterMs === null || nextDeadline(after) !== after.backoff.nextStartAt) return;
  assert.ok(event.now < loopingSince + giveUpAfterMs, 'does not give up');
};

function serving({ workers, generation }: Fleet): Worker[] {
  return workers.filter((worker) => worker.phase === 'serving' && worker.generation === generation);
}

/** Serve, or are on their way to, and are not to be replaced. */
function places({ workers, generation }: Fleet): Worker[] {
  return workers.filter((worker) => worker.generation === generation && isWanted(worker) && !(worker.phase === 'serving' && worker.ailment !== null));
}

function wanted({ policy, completed }: Fleet): number {
  return Math.max(0, policy.workers - completed.length);
}

/** Old workers end before new ones are started. */
function makesWay({ policy, reload }: Fleet): boolean {
  return !policy.overlaps || ('policy' in reload && !reload.policy.overlaps);
}

/** It ends, or stops accepting, without being told to. */
function leaves(event: FleetEvent, { id }: Worker): boolean {
  return ['worker-exited', 'worker-withdrew', 'worker-disconnected', 'worker-supplanted'].includes(event.type) && 'worker' in event && event.worker === id;
}

function isDrained({ id }: Worker, effects: readonly Effect[]): boolean {
  return effects.some((effect) => effect.type === 'drain' && effect.worker === id);
}

/** It is to be replaced, by now. */
function ails(id: number, before: Fleet, effects: readonly Effect[]): boolean {
  const isNew = effects.some((effect) => effect.type === 'report' && effect.report.type === 'worker-ailing' && effect.report.worker === id);
  return isNew || before.workers.some((worker) => worker.id === id && worker.phase === 'serving' && worker.ailment !== null);
}
