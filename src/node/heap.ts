/**
 * V8's heap.
 *
 * Undocumented, tried on 20.20, 22.23, 24.21, 26.10: the flag `--semi-space-growth-factor`, which V8 reads whenever it is about to enlarge the
 * space of young objects. Missing: V8 complains on stderr, and the heap grows as in any process.
 */
import { setFlagsFromString } from 'node:v8';

/**
 * Keeps the space of young objects at its first size, for a process that is to be small rather than fast: V8 enlarges it to 16 MB and
 * more, and gives nothing back while nothing happens.
 */
export function keepYoungSpaceSmall(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
}
