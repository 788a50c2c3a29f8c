/** In a thread there is no way to the master's listener. */
import { answerListens } from '../node/listen.ts';

/** A listen there fails with a clear error, unless it can do without. */
export function refuseInThread(): void {
  answerListens((server, { address, port }, listening) => {
    if (port === 0) return listening.goAlone();
    const where = port === -1 ? address : `${address ?? '*'}:${port}`;
    const message = `cannot listen on ${where} in a worker thread: graceful-super hands listeners to the main thread only; listen there, or with { exclusive: true } if the address may be free during a reload`;
    process.nextTick(() => server.emit('error', Object.assign(new Error(message), { code: 'ERR_LISTEN_IN_THREAD', syscall: 'listen' })));
  });
}
