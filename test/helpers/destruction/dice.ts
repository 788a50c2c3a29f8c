/** Chance that can be repeated: one start gives one course of events, as far as processes can be repeated. */
import { chance } from '../chaos.ts';

export class Dice {
  readonly #next: () => number;

  constructor(start: number) {
    this.#next = chance(scatter(start));
  }

  /** In [0, 1). */
  part(): number {
    return this.#next();
  }

  /** True that often, 0 to 1. */
  may(often: number): boolean {
    return this.#next() < often;
  }

  /** A whole number, both ends included. */
  number(least: number, most: number): number {
    return least + Math.floor(this.#next() * (most - least + 1));
  }

  pick<T>(list: readonly T[]): T {
    return list[this.number(0, list.length - 1)] as T;
  }

  /** Dice of its own for somebody who throws at the same time as others. */
  split(): Dice {
    return new Dice(this.number(1, 2 ** 30));
  }
}

/** Neighbours begin far apart (the finalizer of MurmurHash3). */
function scatter(start: number): number {
  let mixed = start | 0;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
