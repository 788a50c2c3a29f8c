/** A folder of the test's own, gone when the test is over. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

export interface Folder extends Disposable {
  readonly path: string;
  /** Writes a file, and tells its path. */
  write(name: string, content: string): string;
}

export function makeFolder(): Folder {
  const path = mkdtempSync(join(tmpdir(), 'gs-unit-'));
  return {
    path,
    write(name, content) {
      const file = join(path, name);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, content);
      return file;
    },
    [Symbol.dispose]() {
      rmSync(path, { recursive: true, force: true });
    },
  };
}
