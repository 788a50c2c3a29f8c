/**
 * What `--require` loads into the user's process, before the program. In a worker that is the runtime, in its threads a refusal; neither loads a module of
 * Node's that is not there already: what a program does before it loads `http`, say, takes effect.
 */
import { hideOption, takeIdentity } from './identity.ts';

const identity = takeIdentity();
if (identity) (require('./preload.ts') as typeof import('./preload.ts')).supervise(identity);
else if (isThread()) {
  hideOption();
  (require('./thread.ts') as typeof import('./thread.ts')).refuseInThread();
}
delete require.cache[__filename]; // nobody asks for it again, and the program may look

/** It has neither channel nor, since the main thread hides it, identity. The module is there in a thread; in a worker nobody asks. */
function isThread(): boolean {
  return !process.getBuiltinModule('node:worker_threads').isMainThread;
}
