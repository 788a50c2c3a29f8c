/**
 * A request that waits before its program hears of it. What comes meanwhile would get lost, since Node expects listeners at once: an empty body ends as soon as
 * its end has come.
 *
 * Undocumented, tried on 20.20, 22.23, 24.21, 26.10: Node gives a stream its body by `push`, and makes it end by `read(0)`; trailers, and that the client has
 * gone, by `emit`. Missing: nothing waits in vain, for it is all there as before.
 */
import type { Http2Stream } from 'node:http2';
import { intercept } from './http2-session.ts';

type Method = (...args: unknown[]) => unknown;

const LATER = new Set(['trailers', 'headers', 'aborted', 'timeout']);

/** Keeps what comes on the stream. @returns `deliver` gives the program the stream, and then all that has come */
export function keepBody(stream: Http2Stream): (deliver: () => void) => void {
  const methods = stream as unknown as Record<string, Method>;
  const kept: (() => void)[] = [];
  const release = intercept(stream, (event, _args, pass) => LATER.has(event) && kept.push(pass) > 0);
  methods['push'] = (...args) => kept.push(() => methods['push']?.(...args)) > 0;
  methods['read'] = (...args) => {
    kept.push(() => methods['read']?.(...args));
    return null;
  };
  return (deliver) => {
    Reflect.deleteProperty(stream, 'push');
    Reflect.deleteProperty(stream, 'read');
    release();
    deliver();
    process.nextTick(() => {
      for (const give of kept) give();
    });
  };
}
