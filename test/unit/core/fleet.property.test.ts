/** The fleet in random worlds: whatever happens, the invariants hold after every step, and a calm world heals. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Effect } from '../../../src/core/effect.ts';
import type { Exit, Happening, Policy, Scaling } from '../../../src/core/event.ts';
import { nextDeadline } from '../../../src/core/fleet.ts';
import { invariants } from '../helpers/invariants.ts';
import { policyWith } from '../helpers/policy.ts';
import type { Command } from '../helpers/story.ts';
import { everyEvent } from '../helpers/worker-events.ts';
import { World } from '../helpers/world.ts';

type Deed = (world: World, policies: readonly Policy[]) => void;

const policy: fc.Arbitrary<Policy> = fc
  .record({
    workers: fc.integer({ min: 1, max: 4 }),
    surge: fc.integer({ min: 1, max: 4 }),
    probationMs: fc.constantFrom(0, 300),
    settleMs: fc.constantFrom(0, 0, 200),
    allowsAddressChange: fc.boolean(),
    drainTimeoutMs: fc.constantFrom(0, 500),
    killTimeoutMs: fc.constantFrom(1, 100),
    maxDraining: fc.integer({ min: 1, max: 3 }),
    restartLimit: fc.integer({ min: 1, max: 5 }),
    restartWindowMs: fc.constantFrom(1000, 60_000),
    giveUpAfterMs: fc.constantFrom(null, null, 500, 5000),
    restart: fc.constantFrom<Policy['restart'][]>('always', 'always', 'on-failure', 'never'),
    mustListen: fc.boolean(),
    overlaps: fc.constantFrom(true, true, false),
    healthFailures: fc.integer({ min: 1, max: 3 }),
    maxMemoryBytes: fc.constantFrom(null, 1000),
    maxAgeMs: fc.constantFrom(null, null, 5000),
  })
  .map(policyWith);
const policies = fc.array(policy, { minLength: 1, maxLength: 3 });

/** Names a deed, so that a failing run can be read. */
function deed(name: string, act: Deed): Deed {
  return Object.assign(act, { [fc.toStringMethod]: () => name });
}

/** One of several things happens. */
function pickOne(name: string, among: (world: World, policies: readonly Policy[]) => Happening[]): fc.Arbitrary<Deed> {
  return fc.nat().map((pick) =>
    deed(`${name} ${pick}`, (world, choices) => {
      const happenings = among(world, choices);
      const happening = happenings[pick % Math.max(1, happenings.length)];
      if (happening !== undefined) world.tell(happening);
    }),
  );
}

const plausible = pickOne('plausible', (world, choices) => world.plausible(choices));
const due = pickOne('due', (world, choices) => world.due(choices[0] as Policy));
const calm = fc.constant(deed('goes well', (world, choices) => void world.goWell(choices[0] as Policy)));
const advance = fc.integer({ min: 0, max: 3000 }).map((ms) =>
  deed(`${ms} ms pass`, (world) => {
    world.now += ms;
  }),
);
const tick = fc.constant(deed('tick', (world) => void world.tick(world.now)));
const deadline = fc.constant(
  deed('deadline', (world) => {
    const at = nextDeadline(world.fleet);
    if (Number.isFinite(at)) world.tick(at);
  }),
);
const canary = fc.record({ workers: fc.integer({ min: 1, max: 5 }), holdMs: fc.constantFrom(null, 0, 400) });
const change: fc.Arbitrary<Scaling> = fc.oneof(
  fc.integer({ min: 1, max: 6 }).map((to) => ({ to })),
  fc.integer({ min: -2, max: 2 }).map((by) => ({ by })),
);
const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 4, arbitrary: fc.constant<Command>({ type: 'reload-requested' }) },
  { weight: 3, arbitrary: canary.map((some): Command => ({ type: 'reload-requested', canary: some })) },
  { weight: 2, arbitrary: fc.constant<Command>({ type: 'promote-requested' }) },
  { weight: 2, arbitrary: fc.constant<Command>({ type: 'rollback-requested' }) },
  { weight: 3, arbitrary: change.map((to): Command => ({ type: 'scale-requested', change: to })) },
);
const ask = command.map((what) => deed(`ask ${JSON.stringify(what)}`, (world) => world.ask(what)));
const stop = fc.constant(deed('stop', (world) => void world.tell({ type: 'stop-requested', by: 'world' })));
/** What can't be: unknown workers, doubled and late events. */
const junk = fc.tuple(fc.integer({ min: 0, max: 12 }), fc.nat({ max: 14 })).map(([worker, kind]) =>
  deed(`junk ${kind} of worker ${worker}`, (world) => {
    const { now, ...happening } = everyEvent(worker, world.now)[kind] ?? { type: 'tick', now: world.now };
    world.tell(happening as Happening);
  }),
);
const staleRelease = fc.nat({ max: 5 }).map((generation) =>
  deed(`release ${generation} once more`, (world, choices) => {
    world.tell({ type: 'release-resolved', generation, policy: choices[0] as Policy, dropped: [] });
  }),
);

const unstopped = fc.oneof(
  { weight: 4, arbitrary: plausible },
  { weight: 16, arbitrary: due },
  { weight: 3, arbitrary: calm },
  { weight: 3, arbitrary: advance },
  { weight: 2, arbitrary: tick },
  { weight: 3, arbitrary: deadline },
  { weight: 5, arbitrary: ask },
  { weight: 1, arbitrary: junk },
  { weight: 1, arbitrary: staleRelease },
);
const anything = fc.oneof({ weight: 100, arbitrary: unstopped }, { weight: 1, arbitrary: stop });

/** Checks a promise in many worlds, each after a random history. */
function inManyWorlds(deeds: fc.Arbitrary<Deed>, check: (world: World, policies: readonly Policy[]) => void): void {
  const history = fc.array(deeds, { maxLength: 80, size: 'max' });
  fc.assert(
    fc.property(policies, fc.integer({ min: 0, max: 4 }), history, (choices, luck, past) => {
      const world = new World(choices[0] as Policy, invariants());
      world.reload();
      if (luck > 0) world.settle(choices[0] as Policy);
      for (const act of past) act(world, choices);
      check(world, choices);
    }),
    { numRuns: 120 },
  );
}

test('the invariants hold whatever happens', () => inManyWorlds(anything, () => {}));

test('a calm world heals: the wanted workers serve, and nothing else is left', () => {
  inManyWorlds(unstopped, (world, choices) => {
    world.settle(choices[0] as Policy);
    // the first start had failed, all have completed, or it gave up
    if (world.fleet.phase !== 'running') return assert.equal(world.fleet.phase, 'ended');
    const { generation, policy: used, workers, completed, reload, scaling } = world.fleet;
    assert.deepEqual([reload.phase, scaling], ['idle', null]);
    const states = workers.map((worker) => `${worker.phase} ${worker.generation} ${worker.phase === 'serving' && worker.ailment}`);
    assert.deepEqual(states, Array(used.workers - completed.length).fill(`serving ${generation} null`));
    assert.deepEqual([...world.processes.keys()].sort(), workers.map(({ id }) => id).sort());
  });
});

test('a reload in a calm world commits, whatever happened before', () => {
  inManyWorlds(unstopped, (world, choices) => {
    world.settle(choices[0] as Policy);
    if (world.fleet.phase !== 'running') return;
    const before = world.fleet.generation;
    world.reload();
    world.settle(choices[0] as Policy);
    assert.equal(world.fleet.generation, world.fleet.nextGeneration - 1);
    assert.ok(world.fleet.generation > before);
  });
});

test('after a stop, the end comes where processes do as they are told', () => {
  inManyWorlds(anything, (world, choices) => {
    world.tell({ type: 'stop-requested', by: 'test' });
    world.settle(choices[0] as Policy);
    assert.equal(world.fleet.phase, 'ended');
  });
});

test('after a stop, who does not listen gets SIGKILL, and the end comes when the kernel has done its work', () => {
  inManyWorlds(anything, (world) => {
    world.tell({ type: 'stop-requested', by: 'test' });
    killedByTicks(world, [...world.processes.keys()]);
    const exit: Exit = { reason: 'signal', signal: 'SIGKILL' };
    for (const { id: worker, moved } of [...world.processes.values()]) world.tell({ type: 'worker-exited', worker, exit, chance: 0, moved });
    assert.equal(world.fleet.phase, 'ended');
  });
});

test('in a running fleet, too, who was told to end gets SIGKILL if nothing but time passes', () => {
  inManyWorlds(unstopped, (world) => {
    const ending = world.fleet.workers.filter(({ phase }) => phase === 'draining' || phase === 'unfit').map(({ id }) => id);
    killedByTicks(world, ending);
  });
});

test('after a tick there is nothing more to do at the same moment', () => {
  inManyWorlds(anything, (world) => {
    world.tick(world.now);
    const settled = world.fleet;
    const effects: readonly Effect[] = world.tick(world.now);
    assert.deepEqual(effects, []);
    assert.deepEqual(world.fleet, settled);
  });
});

/** Only time passes: in the end each of them has been sent SIGKILL. */
function killedByTicks(world: World, workers: readonly number[]): void {
  const isKilled = (worker: number) => world.processes.get(worker)?.signal === 'SIGKILL';
  for (let ticks = 0; ticks < 200 && !workers.every(isKilled); ticks++) {
    const at = nextDeadline(world.fleet);
    assert.ok(Number.isFinite(at), 'somebody is to be killed, and nobody waits for it');
    world.tick(at);
  }
  assert.deepEqual(
    workers.filter((worker) => !isKilled(worker)),
    [],
  );
}
