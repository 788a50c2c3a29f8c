/**
 * A thread that can say where this process hangs, since the event loop that hangs can't. It speaks to V8 within the process and to the master over
 * a descriptor that nobody else has: an inspector with a port could be used by every user of the machine, and whoever uses it runs code here.
 */
import { toReport } from '../errors.ts';

/**
 * Starts the thread. It has an environment and a Node of its own: nothing that NODE_OPTIONS load for the program runs in it. `complain` is told if it
 * can't be, as under Node's permission model.
 */
export function startWatcher(fd: number, complain: (text: string) => void): void {
  const tell = (error: unknown) => complain(`can't tell where it hangs, should it: ${toReport(error).message}`);
  try {
    const { Worker } = process.getBuiltinModule('node:worker_threads');
    // from its text: this package may have been removed since
    const thread = new Worker(`const __name = (value) => value; (${watch})(${fd})`, { eval: true, execArgv: [], env: {}, name: 'graceful-super' });
    thread.on('error', tell);
    thread.unref();
  } catch (error) {
    tell(error);
  }
}

/** What the thread does. It refers to nothing outside. */
function watch(fd: number): void {
  const patienceMs = 1_500;
  const mostFrames = 12;
  const { Session } = process.getBuiltinModule('node:inspector');
  const { Socket } = process.getBuiltinModule('node:net');
  const { fileURLToPath } = process.getBuiltinModule('node:url');
  const master = new Socket({ fd });
  master.on('error', () => {}); // the master has gone
  master.on('data', () => {
    const session = new Session();
    const urls = new Map<string, string>();
    const answer = (stack: string | null) => {
      clearTimeout(timer);
      master.write(`${JSON.stringify(stack)}\n`);
    };
    const timer = setTimeout(() => {
      session.disconnect(); // it hangs in a system call, where nothing of JavaScript runs that could be interrupted
      answer(null);
    }, patienceMs);
    session.connectToMainThread();
    session.on('Debugger.scriptParsed', ({ params }) => urls.set(params.scriptId, params.url));
    session.on('Debugger.paused', ({ params }) => {
      const lines = params.callFrames.slice(0, mostFrames).map(({ functionName, location }) => {
        const url = urls.get(location.scriptId) ?? '?';
        const where = url.startsWith('file:') ? fileURLToPath(url) : url;
        return `    at ${functionName || '(anonymous)'} (${where}:${location.lineNumber + 1}:${(location.columnNumber ?? 0) + 1})`;
      });
      answer(lines.join('\n'));
      session.post('Debugger.resume', () => session.disconnect());
    });
    session.post('Debugger.enable');
    session.post('Debugger.pause');
  });
}
