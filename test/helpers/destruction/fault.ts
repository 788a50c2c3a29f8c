/** What a fault is. */
import type { Dice } from './dice.ts';
import type { Place } from './place.ts';
import type { World } from './world.ts';

export interface Fault {
  readonly name: string;
  isPossible?(place: Place): boolean;
  /** Does its harm and takes it back, as far as it can be taken back. */
  run(world: World, dice: Dice): Promise<void>;
}
