/**
 * What two ends of a session know between two streams, and how another session gets to know it: settings of both sides, windows, stream numbers. The peer's
 * compressor knows nothing by then (nothing is in its table), and a new session's own one refers to nothing.
 *
 * nghttp2 has no way to be told that some of its window is used up, nor that streams were there before. So the session is given a request of the last
 * stream's number, and its maker answers that with just as many bytes. Its window is then exact; what the peer may still send for old streams (RST_STREAM,
 * WINDOW_UPDATE) is of streams that were, not of ones that never were, which would end the connection; and a later GOAWAY names the right one.
 */
import type { ServerHttp2Session, ServerHttp2Stream, Settings } from 'node:http2';
import { type Novice, nextTurn } from '../../../node/http2-session.ts';
import { preface, request, settingsAcknowledged, settingsFrame, windowUpdate } from './frames.ts';

/** Of a session without an open stream, at a boundary of frames. */
export interface Past {
  /** What the peer has told. */
  readonly peer: Settings;
  /** What it was told, as far as it has acknowledged that. */
  readonly own: Settings;
  /** Bytes that may be sent. */
  readonly sendWindow: number;
  /** Bytes that may come at most, and before the peer is told more. */
  readonly receiveWindow: readonly [size: number, left: number];
  readonly lastStream: number;
  /** Of streams that are pushed. */
  readonly nextStream: number;
}

/** Documented for clients, which begin streams; a server does when it pushes. */
interface NumbersStreams {
  setNextStreamID(id: number): void;
}

/** A window where nobody said anything: RFC 9113 §6.9.2. */
const WINDOW = 65_535;
/** Bytes: RFC 9113 §6.5.2. */
const DEFAULT_TABLE = 4_096;
const NOT_TAUGHT = 'the session did not learn what went before';
const MOST_TURNS = 1_000;
/** What one may have to send again, or lower; push is the client's, and extended CONNECT can't be taken back. */
const LIMITS = ['headerTableSize', 'maxConcurrentStreams', 'initialWindowSize', 'maxFrameSize', 'maxHeaderListSize'] as const;

/** What is to be taught. */
export function pastOf(session: ServerHttp2Session): Past {
  const { state, remoteSettings, localSettings } = session;
  return {
    peer: plain(remoteSettings),
    own: plain(localSettings),
    sendWindow: state.remoteWindowSize ?? WINDOW,
    receiveWindow: [state.effectiveLocalWindowSize ?? WINDOW, state.localWindowSize ?? WINDOW],
    lastStream: state.lastProcStreamID ?? 0,
    nextStream: state.nextStreamID ?? 2,
  };
}

/** What a session has been taught. */
export interface Taught {
  /** To be told to the peer before anything else: what it has sent and was not told to have arrived. */
  readonly farewell: Buffer;
  /** What the server wants, and the peer does not know. */
  readonly wanted: Settings;
}

/** Nothing is on the wire. @throws an error for the log if it could not be taught */
export async function teach(novice: Novice, past: Past): Promise<Taught> {
  const { session } = novice;
  novice.give(Buffer.concat([preface, settingsFrame({ ...past.peer, headerTableSize: 0 }), settingsAcknowledged]));
  const wanted = difference(session.localSettings, past.own);
  session.settings(pick(past.own)); // what holds until the peer has acknowledged something else
  novice.give(settingsAcknowledged);
  const [size, left] = past.receiveWindow;
  if (session.state.effectiveLocalWindowSize !== size) session.setLocalWindowSize(size);
  if (past.nextStream > (session.state.nextStreamID ?? 0)) (session as unknown as NumbersStreams).setNextStreamID(past.nextStream);
  if (past.sendWindow > WINDOW) novice.give(windowUpdate(0, past.sendWindow - WINDOW));
  if (past.lastStream > 0) await spend(novice, past, Math.max(0, WINDOW - past.sendWindow));
  if (session.state.remoteWindowSize !== past.sendWindow) throw new Error(NOT_TAUGHT);
  novice.give(settingsFrame({ headerTableSize: past.peer.headerTableSize ?? 0 })); // its compressor begins with an empty table, and says so to the peer
  await untilSpoken(session);
  const owed = (session.state.localWindowSize ?? size) - left;
  return { farewell: owed > 0 ? windowUpdate(0, owed) : Buffer.alloc(0), wanted };
}

/** Has the last stream answered with so many bytes. */
async function spend(novice: Novice, { lastStream, peer, own }: Past, bytes: number): Promise<void> {
  let answered: ServerHttp2Stream | undefined;
  novice.onRequest((stream) => {
    answered = stream;
    stream.on('error', () => {}); // nothing that it writes gets anywhere
    stream.respond({ ':status': 200 }, { sendDate: false, endStream: bytes === 0 } as object); // `sendDate` is documented for responses only
    if (bytes > 0) stream.end(Buffer.alloc(bytes));
  });
  novice.give(request(lastStream, own.headerTableSize ?? DEFAULT_TABLE));
  const room = peer.initialWindowSize ?? WINDOW;
  if (bytes > room) novice.give(windowUpdate(lastStream, bytes - room));
  await untilSpoken(novice.session, () => answered?.destroyed === true);
}

async function untilSpoken(session: ServerHttp2Session, isDone: () => boolean = () => true): Promise<void> {
  for (let turns = 0; turns < MOST_TURNS; turns++) {
    await nextTurn();
    if (session.destroyed) throw new Error(NOT_TAUGHT);
    if (session.state.outboundQueueSize === 0 && isDone()) return;
  }
  throw new Error(NOT_TAUGHT);
}

/** What is to be told so that the peer knows of it. */
function difference(wanted: Settings, known: Settings): Settings {
  const names = LIMITS.filter((name) => wanted[name] !== undefined && wanted[name] !== known[name]);
  const told = Object.fromEntries(names.map((name) => [name, wanted[name]])) as Settings;
  return wanted.enableConnectProtocol === true && known.enableConnectProtocol !== true ? { ...told, enableConnectProtocol: true } : told;
}

function pick(settings: Settings): Settings {
  const names = LIMITS.filter((name) => settings[name] !== undefined);
  const picked = Object.fromEntries(names.map((name) => [name, settings[name]])) as Settings;
  return settings.enableConnectProtocol === true ? { ...picked, enableConnectProtocol: true } : picked;
}

/** As JSON has it; Node's own object has settings of no name as well, which it refuses to take. */
function plain(settings: Settings): Settings {
  const { enablePush } = settings;
  return { ...pick(settings), ...(enablePush !== undefined && { enablePush }) };
}
