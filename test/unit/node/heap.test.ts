/** V8's heap. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const ALLOCATOR = fileURLToPath(new URL('../helpers/allocator.ts', import.meta.url));

/** Megabytes that the space of young objects takes after a lot of allocations. */
function youngSpace(...args: string[]): number {
  return Number(execFileSync(process.execPath, ['--import', 'tsx', ALLOCATOR, ...args], { encoding: 'utf8' }));
}

test('the space of young objects stays small where that was asked for', () => {
  assert.ok(youngSpace('small') <= 4);
  assert.ok(youngSpace() > 8, 'it would have grown');
});
