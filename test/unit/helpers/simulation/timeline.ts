/** Time that passes only when a test lets it; what is due is done in its order. */
import type { Cancel, Clock } from '../../../../src/kernel.ts';

interface Due {
  readonly at: number;
  readonly then: () => void;
}

export class Timeline implements Clock {
  readonly #due: Due[] = [];
  #now = 0;

  /** So many things are still to come. */
  get pending(): number {
    return this.#due.length;
  }

  now(): number {
    return this.#now;
  }

  after(ms: number, then: () => void): Cancel {
    const due: Due = { at: this.#now + ms, then };
    const later = this.#due.findIndex(({ at }) => at > due.at);
    this.#due.splice(later < 0 ? this.#due.length : later, 0, due);
    return () => {
      const index = this.#due.indexOf(due);
      if (index >= 0) this.#due.splice(index, 1);
    };
  }

  every(ms: number, then: () => void): Cancel {
    let cancel: Cancel = () => {};
    const again = () => {
      cancel = this.after(ms, again);
      then();
    };
    cancel = this.after(ms, again);
    return () => cancel();
  }

  /** The next thing happens. @returns false: nothing is to come before that time, and it is that time now */
  step(until: number = Number.POSITIVE_INFINITY): boolean {
    const [next] = this.#due;
    if (next === undefined || next.at > until) {
      if (Number.isFinite(until)) this.#now = Math.max(this.#now, until);
      return false;
    }
    this.#due.shift();
    this.#now = next.at;
    next.then();
    return true;
  }

  /** So much time passes. */
  pass(ms: number): void {
    const until = this.#now + ms;
    while (this.step(until));
  }
}
