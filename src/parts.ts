/**
 * Parts of the command that are loaded late, or never: files of their own beside the entry, since what is not loaded costs nothing. A master keeps
 * their text from its start, for its package may be replaced under it, or be removed with the release that it was installed in. `src/build.mjs` makes
 * `loadPart` of every `import('winston')` and `import('execa')`.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compileFunction } from 'node:vm';

type Part = 'execa' | 'winston';

const kept = new Map<Part, string>();

/** Makes this process independent of its package: what it may load later is read now, and not compiled yet. */
export function keepParts(): void {
  for (const part of ['execa', 'winston'] as const) kept.set(part, readPart(part));
}

/** What the part exports. Called once for each: the bundle keeps it. */
export function loadPart(part: Part): unknown {
  const text = kept.get(part) ?? readPart(part);
  kept.delete(part);
  const filename = pathOf(part);
  const module = { exports: {} };
  const run = compileFunction(text, ['exports', 'require', 'module', '__filename', '__dirname'], { filename });
  run(module.exports, createRequire(filename), module, filename, dirname(filename));
  return module.exports;
}

function readPart(part: Part): string {
  return readFileSync(pathOf(part), 'utf8');
}

function pathOf(part: Part): string {
  return fileURLToPath(new URL(`./${part}.cjs`, import.meta.url));
}
