/** Sums of connections by kind; a kind of which there are none does not appear. */
import type { ConnectionCounts } from '../protocol/worker.ts';

/** How often each kind is there. */
export function countKinds(kinds: readonly string[]): ConnectionCounts {
  const counts: Record<string, number> = {};
  for (const kind of kinds) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
}

/** Kind by kind. */
export function addCounts(a: ConnectionCounts, b: ConnectionCounts): ConnectionCounts {
  const sum: Record<string, number> = { ...a };
  for (const [kind, count] of Object.entries(b)) sum[kind] = (sum[kind] ?? 0) + count;
  return sum;
}

/** Kind by kind, but not below 0. */
export function subtract(counts: ConnectionCounts, less: ConnectionCounts): ConnectionCounts {
  const rest = Object.entries(counts).map(([kind, count]): [string, number] => [kind, Math.max(0, count - (less[kind] ?? 0))]);
  return Object.fromEntries(rest.filter(([, count]) => count > 0));
}
