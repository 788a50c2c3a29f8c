/** What may happen without end and is worth a line now and then. */

const PAUSE_MS = 60_000;

/** @returns to be called each time; it tells of the first at once, then at most once a minute, each time with how many there were since */
export function tellSeldom<What>(now: () => number, tell: (count: number, last: What) => void): (what: What) => void {
  let toldAt = Number.NEGATIVE_INFINITY;
  let count = 0;
  return (what) => {
    count++;
    if (now() - toldAt < PAUSE_MS) return;
    tell(count, what);
    toldAt = now();
    count = 0;
  };
}
