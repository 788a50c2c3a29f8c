/**
 * HTTP/2 in a draining worker, as RFC 9113 §6.8 wants it: a GOAWAY that refuses nothing yet, a round trip for what is
 * under way, then the final GOAWAY; the session ends with its last stream. Where that first one can't be written, behind TLS, the final
 * one comes when nothing is under way as far as can be seen: it names the last stream that is served, and what its client has sent meanwhile may be sent again.
 */
import type { ServerHttp2Session } from 'node:http2'; // the type alone: the module takes longer to load than all of the runtime
import { bytesWhenIdle, writeNotice } from '../../node/http2.ts';
import { guarded } from '../guard.ts';

/** A peer need not answer a PING; nor need it read, so that nothing can be written. */
const PATIENCE_MS = 5_000;
/** When it was first tried to close them. */
const triedAt = new WeakMap<ServerHttp2Session, number>();
const noticed = new WeakSet<ServerHttp2Session>();
/** What had come by the last look at a session that was idle then. */
const idleAt = new WeakMap<ServerHttp2Session, number | undefined>();

/** It has been told, or is about to be. */
export function isClosing(session: ServerHttp2Session): boolean {
  return triedAt.has(session);
}

/** Ends a session without losing a stream. To be called again and again. */
export function closeSession(session: ServerHttp2Session): void {
  if (session.destroyed || session.closed || noticed.has(session)) return;
  const since = triedAt.get(session) ?? performance.now();
  triedAt.set(session, since);
  const result = writeNotice(session);
  const mayWait = result === 'later' || (result === 'impossible' && !isIdleStill(session));
  if (mayWait && performance.now() - since < PATIENCE_MS) return;
  noticed.add(session);
  if (result === 'told') awaitRoundTrip(session);
  else session.close();
}

/** Since the last look no stream was open, and nothing has come. */
function isIdleStill(session: ServerHttp2Session): boolean {
  const bytes = bytesWhenIdle(session);
  const isStill = bytes !== undefined && idleAt.get(session) === bytes;
  idleAt.set(session, bytes);
  return isStill;
}

function awaitRoundTrip(session: ServerHttp2Session): void {
  const close = guarded(() => {
    clearTimeout(timer);
    if (!session.destroyed && !session.closed) session.close();
  });
  const timer = setTimeout(close, PATIENCE_MS);
  session.once('close', () => clearTimeout(timer));
  if (!session.destroyed) session.ping(close);
}
