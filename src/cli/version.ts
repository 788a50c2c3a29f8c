/** Of this package. */
import { readFileSync } from 'node:fs';

// the same from `src/cli` and from `dist/cli` and `dist/chunks`
export const version: string = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version;
