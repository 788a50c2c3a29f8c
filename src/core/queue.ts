/** Requests that wait for the end of a reload, which, with a canary that is held, may never come: what nobody waits for is kept once. PURE. */
import type { Request } from './reload.ts';

/** More are refused. */
export const MOST_QUEUED = 1000;

/** The queue with one request more. */
export function enqueue(queued: readonly Request[], request: Request): readonly Request[] {
  return withoutRepeats([...queued, request]);
}

/** Whoever asked for it has left: it is done all the same, but nobody has to be told. */
export function abandon(queued: readonly Request[], id: number): readonly Request[] {
  return withoutRepeats(queued.map((request) => (request.id === id ? { ...request, isAwaited: false } : request)));
}

/** They ask for the same, so that one reload answers both. */
export function areAlike(a: Request | undefined, b: Request | undefined): boolean {
  return a?.from === b?.from && a?.canary?.workers === b?.canary?.workers && a?.canary?.holdMs === b?.canary?.holdMs;
}

/** Of neighbours that ask for the same, those that somebody waits for are kept, or else one. */
function withoutRepeats(queued: readonly Request[]): readonly Request[] {
  const kept: Request[] = [];
  for (const request of queued) {
    const last = kept.at(-1);
    const isRepeat = last !== undefined && areAlike(last, request);
    if (isRepeat && !last.isAwaited) kept.pop();
    if (!isRepeat || !last.isAwaited || request.isAwaited) kept.push(request);
  }
  return kept;
}
