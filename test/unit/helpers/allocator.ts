/** Allocates objects that live for a while, for heap.test.ts, and prints the megabytes that V8's space of young objects then takes. */
import { getHeapSpaceStatistics } from 'node:v8';
import { keepYoungSpaceSmall } from '../../../src/node/heap.ts';

if (process.argv[2] === 'small') keepYoungSpaceSmall();
let kept: object[] = [];
for (let count = 0; count < 3_000_000; count++) {
  kept.push({ count });
  if (kept.length > 200_000) kept = kept.slice(100_000);
}
console.log((getHeapSpaceStatistics().find(({ space_name: name }) => name === 'new_space')?.space_size ?? Number.NaN) / 2 ** 20);
