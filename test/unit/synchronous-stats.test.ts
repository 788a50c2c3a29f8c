/**
 * A worker's runtime leaves the array alone in which Node keeps the last synchronous stat: the module loader reads it, and after a socket it follows no
 * symlink (nodejs/node#51142). The same holds in a master for whatever may be a socket, since it loads modules late.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const source = fileURLToPath(new URL('../../src', import.meta.url));
const rooms = ['worker', 'node', 'protocol', 'master/listeners', 'owned-file.ts', 'tickets.ts'];

test('Every synchronous stat of a worker, and of what may be a socket, is one of big integers', () => {
  const files = readdirSync(source, { recursive: true, encoding: 'utf8' }).filter(
    (file) => file.endsWith('.ts') && rooms.some((room) => file.startsWith(room)),
  );
  const calls = files.flatMap((file) => [...readFileSync(join(source, file), 'utf8').matchAll(/\bf?l?statSync\([^;\n]*/g)].map(([call]) => `${file}: ${call}`));
  assert.ok(calls.length > 4);
  assert.deepEqual(
    calls.filter((call) => !call.includes('bigint: true')),
    [],
  );
});
