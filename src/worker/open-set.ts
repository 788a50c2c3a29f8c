/**
 * What is open, of many things that come and go. Nobody says that one is gone: a program may have removed every listener, or given a socket to a child. So each
 * is asked instead, whenever somebody wants to know, and whenever the set has doubled: on average once for each that was added.
 */

/** Asking fewer is not worth it. */
const FEW = 64;

/** Forgets what is no longer open, by itself. */
export class OpenSet<T> {
  readonly #all = new Set<T>();
  readonly #isOpen: (one: T) => boolean;
  #limit = FEW;

  constructor(isOpen: (one: T) => boolean) {
    this.#isOpen = isOpen;
  }

  add(one: T): void {
    this.#all.add(one);
    if (this.#all.size >= this.#limit) this.#forgetGone();
  }

  has(one: T): boolean {
    return this.#all.has(one) && this.#isOpen(one);
  }

  get size(): number {
    this.#forgetGone();
    return this.#all.size;
  }

  /** Stops at the first that is open. */
  isEmpty(): boolean {
    for (const one of this.#all) {
      if (this.#isOpen(one)) return false;
      this.#all.delete(one);
    }
    return true;
  }

  /** In the order they were added. */
  list(): T[] {
    this.#forgetGone();
    return [...this.#all];
  }

  #forgetGone(): void {
    for (const one of this.#all) if (!this.#isOpen(one)) this.#all.delete(one);
    this.#limit = Math.max(FEW, 2 * this.#all.size);
  }
}
