/** Requests, as those who asked see them: what must hold after every step. */
import assert from 'node:assert/strict';
import type { Effect, Report } from '../../../src/core/effect.ts';
import type { FleetEvent } from '../../../src/core/event.ts';
import type { Fleet } from '../../../src/core/fleet.ts';
import type { Watch } from './world.ts';

/**
 * Each request is answered exactly once, and the fleet knows of everybody who still waits. Who asked for a canary without an
 * end is answered when it serves, and named once more when its reload is over.
 */
export function requestsAreAnsweredOnce(): Watch {
  const open = new Set<number>();
  const heard = new Set<number>();
  return (before, event, after, effects) => {
    if ('request' in event && before.phase !== 'ended') open.add(event.request);
    for (const report of reportsOf(effects)) {
      for (const request of answeredBy(report)) {
        if (report.type === 'reload-finished' && heard.delete(request)) continue;
        assert.ok(open.delete(request), `request ${request} is answered twice`);
        if (report.type === 'reload-holding') heard.add(request);
      }
    }
    assert.deepEqual(
      [...open],
      waitingIn(after).filter((request) => !heard.has(request)),
    );
    if (after.phase === 'ended') assert.deepEqual([...open], [], 'all are answered at the end');
  };
}

/** A reload takes on everybody who waits for the same, in turn, so that any number of requests make one more. */
export function requestsAreServedInTurn(): Watch {
  let waiting: Extract<FleetEvent, { type: 'reload-requested' | 'rollback-requested' }>[] = [];
  return (_before, event, _after, effects) => {
    if (event.type === 'reload-requested' || event.type === 'rollback-requested') waiting.push(event);
    for (const report of reportsOf(effects)) {
      if (report.type === 'reload-started') {
        const others = waiting.findIndex((event) => kindOf(event) !== kindOf(waiting[0]));
        const first = waiting.splice(0, others === -1 ? waiting.length : others);
        assert.deepEqual(
          report.requests,
          first.map(({ request }) => request),
        );
      }
      const answered = answeredBy(report);
      waiting = waiting.filter(({ request }) => !answered.includes(request));
    }
  };
}

/** A rollback brings back the generation that was committed before the one that serves; any other reload what is configured now. */
export function rollbacksGoBack(): Watch {
  const committed: number[] = [];
  const rollbacks = new Set<number>();
  return (_before, event, _after, effects) => {
    if (event.type === 'rollback-requested') rollbacks.add(event.request);
    let isRollback = false;
    for (const effect of effects) {
      if (effect.type === 'report' && effect.report.type === 'reload-started') {
        const requests = effect.report.requests.map((request) => rollbacks.has(request));
        isRollback = requests.includes(true);
        assert.ok(!requests.includes(false) || !isRollback, 'who asked for new code, and who asked for the old, are not served by the same reload');
      }
      if (effect.type === 'report' && effect.report.type === 'reload-committed') committed.push(effect.report.generation);
      if (effect.type === 'resolve') assert.equal(effect.from, isRollback ? committed.at(-2) : null);
    }
  };
}

/** What is refused changes nothing, and is refused for a reason. */
export const onlyNonsenseIsRefused: Watch = (before, event, _after, effects) => {
  const refusals = reportsOf(effects).flatMap((report) =>
    report.type === 'request-refused' && 'request' in event && report.request === event.request ? [report.reason] : [],
  );
  if (event.type === 'promote-requested' && before.phase === 'running') assert.deepEqual(refusals, before.reload.phase === 'holding' ? [] : ['no-canary']);
  if (event.type !== 'rollback-requested' || before.phase !== 'running') return;
  const { phase } = before.reload;
  const mayRollBack = before.generation > 0 && ['resolving', 'starting', 'admitting', 'holding', 'proving'].includes(phase);
  const hasCommitted = before.previous > 0 && (phase === 'retiring' || before.lastOutcome?.outcome === 'committed');
  assert.equal(refusals.length, mayRollBack || hasCommitted ? 0 : 1);
};

/** Those who are told by this report what came of their request. */
function answeredBy(report: Report): readonly number[] {
  switch (report.type) {
    case 'request-refused':
      return [report.request];
    case 'scale-finished':
    case 'reload-finished':
      return report.requests;
    case 'reload-holding':
      return report.holdMs === null ? report.requests : [];
    default:
      return [];
  }
}

/** In the order in which they asked. */
function waitingIn({ reload, queued, scaling }: Fleet): number[] {
  const reloading = reload.phase === 'idle' ? [] : reload.requests;
  return [...[...reloading, ...queued].map(({ id }) => id), ...(scaling ?? [])].sort((a, b) => a - b);
}

function reportsOf(effects: readonly Effect[]): Report[] {
  return effects.flatMap((effect) => (effect.type === 'report' ? [effect.report] : []));
}

/** Requests of one kind are answered by one reload. */
function kindOf(event: FleetEvent | undefined): string {
  return JSON.stringify(event?.type === 'reload-requested' ? (event.canary ?? 'whole') : event?.type);
}
