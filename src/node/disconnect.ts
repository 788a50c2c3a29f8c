/**
 * The event `disconnect` of a process whose parent has ended.
 *
 * Undocumented: Node calls `process.disconnect` at the end of the channel, and postpones the event until the handle that was
 * sent last is acknowledged, which a process that has ended never does. Tried on 20.20, 22.23, 24.21, 26.10. Should a Node not
 * call it, a worker that was handing over serves without master until its drain timeout.
 */

/** Makes sure that the event comes. */
export function ensureDisconnect(): void {
  const disconnect = process.disconnect?.bind(process);
  if (disconnect === undefined) return;
  process.disconnect = () => {
    let isTold = false;
    process.once('disconnect', () => {
      isTold = true;
    });
    disconnect();
    // called by a program, it ends a channel that is still there: then Node tells it in its time
    setImmediate(() => isTold || process.channel || process.emit('disconnect'));
  };
}
