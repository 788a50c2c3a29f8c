/**
 * HTTP/2 sessions, between two streams. What they know goes along; the program gets a new session for the same connection, and the old one stays silent.
 */
import type { ServerHttp2Session } from 'node:http2';
import type { Server, Socket } from 'node:net';
import { timeoutLeft } from '../../../node/connection.ts';
import { bytesGiven, noteSession, openStreams, sessionOf } from '../../../node/http2.ts';
import { leave, makeNovice, type Novice } from '../../../node/http2-session.ts';
import { closeSession } from '../../closing/http2.ts';
import { guarded, tellMistake, tellOnce } from '../../guard.ts';
import { type Baggage, type Carrier, exportState, type StateOptions, type Welcome } from '../carrier.ts';
import { type Past, pastOf, teach } from './past.ts';
import { endWatch, mayLeave } from './watch.ts';

interface Http2Baggage extends Baggage {
  readonly past: Past;
  /** Milliseconds that are left until its timeout; null: it has none. */
  readonly timeoutMs: number | null;
}

type SessionOptions = StateOptions<ServerHttp2Session>;

/** Their programs have something else between a connection and its session: no other one is tried. */
const readsFirst = new WeakSet<Server>();

export const http2Carrier: Carrier = {
  leavesSilently: true,
  ownerOf: sessionOf,
  pack({ socket, options }) {
    const session = sessionOf(socket);
    if (session === undefined || !mayLeave(session)) return undefined;
    const state = exportState(options as unknown as SessionOptions, session);
    if (state === undefined || !mayLeave(session)) return undefined; // the program may write while it exports
    return { kind: 'http2', ...state, past: pastOf(session), timeoutMs: timeoutLeft(session as unknown as Socket) } satisfies Http2Baggage;
  },
  letGo({ socket }) {
    const session = sessionOf(socket);
    if (session === undefined) return;
    endWatch(session);
    leave(session);
  },
  adopt(welcome) {
    const { server, arrival } = welcome;
    const novice = readsFirst.has(server) ? undefined : makeNovice(server, arrival.socket, () => arrival.announce());
    if (novice === undefined) {
      readsFirst.add(server);
      throw new Error('its server begins no session on a connection at once');
    }
    noteSession(novice.session);
    void goOn(novice, welcome).catch((error: unknown) => {
      tellMistake(error);
      arrival.socket.destroy();
    });
  },
};

/** Within some turns of the loop: until then what the peer sends waits in the kernel. */
async function goOn(novice: Novice, { arrival, baggage, state, options }: Welcome): Promise<void> {
  const { past, timeoutMs } = baggage as Http2Baggage;
  const { session } = novice;
  const { farewell, wanted } = await teach(novice, past);
  await novice.join(farewell);
  if (session.destroyed || arrival.socket.destroyed) return;
  if (Object.keys(wanted).length > 0) session.settings(wanted);
  novice.announce();
  if (timeoutMs !== null) continueTimeout(session, timeoutMs);
  giveState(options as unknown as SessionOptions, session, state);
}

/** By now it can't go back. */
function giveState(options: SessionOptions, session: ServerHttp2Session, state: unknown): void {
  try {
    options.adopt?.(session, state);
  } catch (error) {
    const text = error instanceof Error ? String(error.stack) : String(error);
    tellOnce(text, `an HTTP/2 session ends, since the program could not adopt it: ${text}`);
    closeSession(session);
  }
}

/** What had passed of it when it came counts. */
function continueTimeout(session: ServerHttp2Session, timeoutMs: number): void {
  if (!(session as unknown as Socket).timeout) return;
  const bytes = bytesGiven(session);
  const strike = guarded(() => void (!session.destroyed && bytesGiven(session) === bytes && openStreams(session)?.length === 0 && session.emit('timeout')));
  const timer = setTimeout(strike, timeoutMs);
  timer.unref();
  session.once('close', () => clearTimeout(timer));
}
