/** Whose connections may be lost: those of processes that were killed, or told twice to end, and nobody else's. */

export class Ledger {
  readonly pids: Set<number> = new Set();
  /** Length of what the workers had told when this was begun. */
  readonly told: number;
  readonly #since: number[] = [];
  readonly #toldToEnd = new Set<number>();

  constructor(told: number) {
    this.told = told;
  }

  /** To be told before it is done. `since`: the earliest moment at which it may have struck, of `performance.now()`. */
  condemn(pid: number, since: number = performance.now()): void {
    this.pids.add(pid);
    this.#since.push(since);
  }

  /** To be told before each SIGTERM: the second one makes a worker close what is open. */
  tellToEnd(pid: number): void {
    if (this.#toldToEnd.has(pid)) this.condemn(pid);
    this.#toldToEnd.add(pid);
  }

  /** Somebody may have lost a connection by then. */
  hasStruckBy(time: number): boolean {
    return this.#since.some((since) => since <= time);
  }
}
