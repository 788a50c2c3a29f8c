/** Where a worker hangs: asked of a thread that it has for this (see worker/watcher.ts). */
import type { Duplex } from 'node:stream';
import type { Clock } from '../../kernel.ts';

/** Longer than the thread tries. */
const PATIENCE_MS = 2_000;
const MOST_CHARACTERS = 16_384;

/** @returns asks; a line a frame, the innermost first; undefined where that can't be told */
export function stackAsker(watcher: Duplex | undefined, clock: Clock): () => Promise<string | undefined> {
  if (!watcher) return async () => undefined;
  watcher.on('error', () => {}); // EPIPE: it has ended
  let asked: Promise<string | undefined> | undefined;
  return () => {
    asked ??= ask(watcher, clock).finally(() => {
      asked = undefined;
    });
    return asked;
  };
}

function ask(watcher: Duplex, clock: Clock): Promise<string | undefined> {
  return new Promise((resolve) => {
    let text = '';
    const end = (stack?: string) => {
      cancel();
      watcher.off('data', onData).off('close', end);
      resolve(stack);
    };
    const onData = (chunk: Buffer) => {
      text += chunk.toString();
      if (text.length > MOST_CHARACTERS || text.endsWith('\n')) end(parse(text));
    };
    const cancel = clock.after(PATIENCE_MS, end);
    if (watcher.destroyed) return end();
    watcher.on('data', onData).once('close', end);
    watcher.write('?');
  });
}

/** The thread is in the program's process: whatever it says is only text. */
function parse(text: string): string | undefined {
  try {
    const stack: unknown = JSON.parse(text);
    return typeof stack === 'string' ? stack : undefined;
  } catch {
    return undefined; // the program has written there
  }
}
