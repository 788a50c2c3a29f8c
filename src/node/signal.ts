/**
 * Takes a signal before the program's own listeners do.
 *
 * Undocumented: Node delivers a signal by calling `process.emit`. Tried on 20.20, 22.23, 24.21, 26.10. Should it stop doing
 * so, the program's own listeners run at once, as they do without a supervisor.
 */

/**
 * `take` is called for each such signal, and nobody else hears of it. @returns ends that; what the program had registered
 * for the signal is then as if we had never been there.
 */
export function interceptSignal(signal: NodeJS.Signals, take: () => void): () => void {
  const emit = process.emit;
  const isInherited = !Object.hasOwn(process, 'emit');
  let isOurs = true;
  const intercepted = function (this: NodeJS.Process, event: string, ...args: unknown[]): boolean {
    if (!isOurs || event !== signal) return Reflect.apply(emit, this, [event, ...args]) as boolean;
    take();
    return true;
  } as typeof process.emit;
  const restore = () => {
    if (isInherited) Reflect.deleteProperty(process, 'emit');
    else process.emit = emit;
  };
  Object.defineProperty(process, 'emit', { value: intercepted, writable: true, configurable: true, enumerable: false }); // as it is inherited: not enumerable
  // Node asks the kernel for a signal only while somebody listens to it
  const listen = () => {};
  process.on(signal, listen);
  return () => {
    isOurs = false;
    if (process.emit === intercepted) restore();
    process.off(signal, listen);
  };
}
