/** Sums of what became of connections. PURE. */
import type { ConnectionAccount, ConnectionCounts } from './event.ts';

/** An account with nothing in it. */
export const nothing: ConnectionAccount = { moved: {}, closed: {}, cut: {} };

/** Kind by kind. */
export function addAccounts(a: ConnectionAccount, b: ConnectionAccount): ConnectionAccount {
  return { moved: addCounts(a.moved, b.moved), closed: addCounts(a.closed, b.closed), cut: addCounts(a.cut, b.cut) };
}

/** Key by key. */
export function addCounts(a: ConnectionCounts, b: ConnectionCounts): ConnectionCounts {
  const kinds = [...new Set([...Object.keys(a), ...Object.keys(b)])];
  return Object.fromEntries(kinds.map((kind) => [kind, (a[kind] ?? 0) + (b[kind] ?? 0)]));
}
