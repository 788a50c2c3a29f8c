/**
 * HTTP/2 in a draining worker, as RFC 9113 §6.8 wants it: a GOAWAY that refuses nothing yet, a round trip for what is
 * under way, then the final GOAWAY; the session ends with its last stream.
 */
import type { ServerHttp2Session } from 'node:http2'; // the type alone: the module takes longer to load than all of the runtime

/** @see RFC 9113 §7 */
const NO_ERROR = 0;
const MAX_STREAM_ID = 2 ** 31 - 1;
const ROUND_TRIP_MS = 1_000;
const closing = new WeakSet<ServerHttp2Session>();

/** Ends a session without losing a stream; called again, it changes nothing. */
export function closeSession(session: ServerHttp2Session): void {
  if (session.destroyed || session.closed || closing.has(session)) return;
  closing.add(session);
  session.goaway(NO_ERROR, MAX_STREAM_ID);
  const close = () => {
    clearTimeout(timer);
    if (!session.destroyed && !session.closed) session.close();
  };
  const timer = setTimeout(close, ROUND_TRIP_MS); // a peer need not answer a PING in time
  session.ping(close);
}
