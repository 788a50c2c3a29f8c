/**
 * The loop that decides: queue → step → perform. Everything that happens is put in here, nothing is done elsewhere. It
 * arms the one timer, for the earliest deadline of the fleet. `afterTurn` is called when the fleet may have changed.
 */
import type { Effect } from '../core/effect.ts';
import type { FleetEvent, Happening, Policy } from '../core/event.ts';
import { emptyFleet, type Fleet, nextDeadline, step } from '../core/fleet.ts';
import type { Cancel, Clock } from '../kernel.ts';

/** The deciding loop. */
export interface Loop {
  readonly fleet: Fleet;
  dispatch(happening: Happening): void;
}

/** What the loop turns by. */
export interface LoopHost {
  readonly policy: Policy;
  readonly clock: Clock;
  perform(effect: Effect): void;
  afterTurn(): void;
}

/** Starts with an empty fleet. */
export function startLoop({ policy, clock, perform, afterTurn }: LoopHost): Loop {
  let fleet = emptyFleet(policy);
  let disarm: Cancel = () => {};
  let isTurning = false;
  const events: FleetEvent[] = [];
  const performOrTell = (effect: Effect) => {
    try {
      perform(effect);
    } catch (error) {
      // a fault in one effect must neither stop the loop nor pass unseen: it is told as an uncaught exception
      queueMicrotask(() => {
        throw error;
      });
    }
  };
  const turn = () => {
    if (isTurning) return; // an effect told something: it waits its turn
    isTurning = true;
    try {
      for (let event = events.shift(); event !== undefined; event = events.shift()) {
        const [next, ...effects] = step(fleet, event);
        fleet = next;
        for (const effect of effects) performOrTell(effect);
      }
    } finally {
      isTurning = false; // a fault in the core loses its event, and nothing else
    }
    afterTurn();
    disarm();
    const deadline = nextDeadline(fleet);
    if (deadline !== Number.POSITIVE_INFINITY) disarm = clock.after(Math.max(0, Math.ceil(deadline - clock.now())), () => dispatch({ type: 'tick' }));
  };
  const dispatch = (happening: Happening) => {
    events.push({ ...happening, now: clock.now() } as FleetEvent);
    turn();
  };
  return {
    get fleet() {
      return fleet;
    },
    dispatch,
  };
}
