/**
 * Removes the files of a root master that was killed while none of its workers was root any more, who would do so otherwise (worker/preload.ts). A shell, which
 * takes a megabyte, and only while it is needed: it reads what is to be removed and waits for the end.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import type { OwnedFile } from '../owned-file.ts';

/** A line is an inode and a path, an empty one begins a new list. Only what is still that very file is removed. */
const SCRIPT = `list=
while IFS= read -r line; do
  if [ -z "$line" ]; then list=; else list="$list$line
"; fi
done
printf %s "$list" | while read -r inode path; do
  find "$path" -prune -inum "$inode" '(' -type d -exec rmdir {} ';' -o -exec rm -f {} ';' ')'
done`;

/** It waits. */
export interface Sweeper {
  /** These, and no others, are to be removed. */
  tell(files: readonly OwnedFile[]): void;
  /** The master removes them itself. */
  end(): void;
}

/** Starts it in a process group of its own, so that ^C at a terminal does not reach it. Never throws: where there is no shell, files stay. */
export function startSweeper(): Sweeper {
  const child = trySpawn();
  child?.on('error', () => {}); // ENOENT
  child?.stdin?.on('error', () => {}); // EPIPE: somebody ended it
  child?.unref();
  return {
    tell: (files) => void child?.stdin?.write(`\n${files.map(({ ino, path }) => (path.includes('\n') ? '' : `${ino} ${path}\n`)).join('')}`),
    end: () => void child?.kill('SIGKILL'),
  };
}

function trySpawn(): ChildProcess | undefined {
  try {
    return spawn('/bin/sh', ['-c', SCRIPT], { cwd: '/', env: { PATH: '/usr/bin:/bin' }, detached: true, stdio: ['pipe', 'ignore', 'ignore'] });
  } catch {
    return undefined; // EMFILE, EAGAIN
  }
}
