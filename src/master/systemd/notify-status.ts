/** The fleet in one line, for `systemctl status`: what serves, what drains, how the last reload ended. */
import type { Fleet } from '../../core/fleet.ts';
import { describeOutcome, type PidOf } from '../log/wording.ts';

/** A function that describes the fleet. It keeps the words for the last outcome: the pid of a worker is not known for long. */
export function describeFleet(pidOf: PidOf): (fleet: Fleet) => string {
  let outcome: Fleet['lastOutcome'] = null;
  let text = '';
  return (fleet) => {
    if (fleet.lastOutcome !== outcome) {
      outcome = fleet.lastOutcome;
      text = outcome === null || isFirstStart(outcome) ? '' : describeOutcome(outcome, pidOf).text;
    }
    const parts = [serving(fleet), reloading(fleet), draining(fleet), text].filter((part) => part !== '');
    return parts.join('; ').replace(/\s*\n\s*/g, ' ');
  };
}

function isFirstStart({ outcome, previous }: NonNullable<Fleet['lastOutcome']>): boolean {
  return outcome === 'committed' && previous === 0;
}

function serving({ phase, generation, workers, policy, backoff }: Fleet): string {
  if (phase !== 'running') return 'stopping';
  if (generation === 0) return 'starting';
  const count = workers.filter((worker) => worker.phase === 'serving' && worker.generation === generation).length;
  const loop = backoff.isLooping && count < policy.workers ? ': crash loop' : '';
  return count === 0 ? `no worker of generation ${generation} serves${loop}` : `generation ${generation} serves (${count} of ${policy.workers} workers${loop})`;
}

function reloading({ generation, reload }: Fleet): string {
  if (generation === 0 || reload.phase === 'idle' || reload.phase === 'retiring') return '';
  const what = { holding: 'is a canary', proving: 'is on probation' } as const;
  return `generation ${reload.generation} ${reload.phase === 'holding' || reload.phase === 'proving' ? what[reload.phase] : 'starts'}`;
}

function draining({ workers }: Fleet): string {
  const open = workers.filter((worker) => worker.phase === 'draining');
  const generations = [...new Set(open.map(({ generation }) => generation))];
  return generations
    .map((generation) => `generation ${generation} drains (${count(open.filter((worker) => worker.generation === generation).length)})`)
    .join('; ');
}

function count(workers: number): string {
  return `${workers} worker${workers === 1 ? '' : 's'}`;
}
