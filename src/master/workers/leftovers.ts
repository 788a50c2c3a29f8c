/**
 * What a worker leaves behind: children of its own that it did not end. A worker leads a process group, and at its end, however that came, the rest of
 * the group is told to end, and is killed a little later. A child that is to live on is spawned `detached`, which gives it a group of its own.
 */
import type { Kernel } from '../../kernel.ts';

const LOOK_MS = 50;
/** Who is dead, and only waits to be reaped, is told from the living at each so-many-th look, which takes longer: the first, and then twice a second. */
const LOOKS = 10;
/** From SIGTERM to SIGKILL. */
const PATIENCE_MS = 5000;

/** Ends the rest of a group whose leader has been reaped. @returns settles when nobody is left, or all were killed */
export function sweepGroup(leader: number, kernel: Pick<Kernel, 'now' | 'every' | 'signalRest' | 'hasLiving'>): Promise<void> {
  if (!kernel.signalRest(leader, 'SIGTERM')) return Promise.resolve();
  const killAt = kernel.now() + PATIENCE_MS;
  let looks = 0;
  return new Promise((resolve) => {
    // looked at often, a group that has become empty is forgotten long before its number can be given out again
    const cancel = kernel.every(LOOK_MS, () => {
      const isLate = kernel.now() >= killAt;
      const isLeft = kernel.signalRest(leader, isLate ? 'SIGKILL' : 0) && (looks++ % LOOKS !== 0 || kernel.hasLiving(leader));
      if (isLeft && !isLate) return;
      cancel();
      resolve();
    });
  });
}
