/**
 * An HTTP/2 session and the connection below it.
 *
 * `session.goaway()` makes nghttp2 drop every later stream in silence, whatever stream id it names, and stop reading when no stream is open, so that not even
 * an acknowledged PING is heard. A notice that refuses nothing yet has to be written past it.
 *
 * Undocumented, tried on 20.20, 22.23, 24.21, 26.10:
 * - the session's socket, its open streams and the native session under symbols called `socket`, `state` and `kHandle`; `fd`, `bytesWritten` and `writeQueueSize` of
 *   the socket's handle. All that a session sends at once are whole frames, and what the kernel does not take of them waits in that queue: when it is empty, the stream
 *   is between two frames. The write goes to the kernel directly, since the session would take the end of any other for the end of its own (and abort).
 *   Missing, or behind TLS, where only the session can write: `impossible`.
 * - `stream` of a socket that wraps a stream of JavaScript, which a session reads where there is no handle; `bytesRead` of what it reads from.
 *   Missing: the session stays.
 */
import { writeSync } from 'node:fs';
import type { Http2Stream, IncomingHttpHeaders, ServerHttp2Session } from 'node:http2';
import type { Server, Socket } from 'node:net';

interface InternalSocket extends Socket {
  readonly _handle?: { readonly fd?: number; readonly writeQueueSize?: number; readonly bytesRead?: number; readonly bytesWritten?: number } | null;
  readonly stream?: Socket;
}

interface InternalState {
  readonly streams?: ReadonlyMap<number, Http2Stream>;
  readonly pendingStreams?: ReadonlySet<Http2Stream>;
}

/** `later`: the stream is in the middle of a frame, or begins. */
export type Noticed = 'told' | 'later' | 'impossible';

/** @see RFC 9113 §6.8: GOAWAY of stream 0, with the largest stream id and NO_ERROR */
export const NOTICE: Buffer = Buffer.from([0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);

const sessions = new WeakMap<Socket, ServerHttp2Session>();
const agents = new WeakMap<ServerHttp2Session, string>();

/** It makes sessions of its connections. */
export function isHttp2Server(server: Server): boolean {
  return 'updateSettings' in server;
}

/** Remembers whose session it is, and from its first request what its client calls itself. */
export function noteSession(session: ServerHttp2Session): void {
  const socket = socketOf(session);
  if (socket) sessions.set(socket, session);
  session.once('stream', noteAgent);
}

function noteAgent(this: ServerHttp2Session, _stream: unknown, { 'user-agent': agent }: IncomingHttpHeaders): void {
  if (agent !== undefined) agents.set(this, agent);
}

/** What the client of a session calls itself. */
export function agentOf(session: ServerHttp2Session): string | undefined {
  return agents.get(session);
}

/** The session that has the connection, if it was noted. */
export function sessionOf(socket: Socket): ServerHttp2Session | undefined {
  return sessions.get(socket);
}

/** The connection of a session as its server has it. */
export function socketOf(session: ServerHttp2Session): Socket | undefined {
  const socket = internal<InternalSocket>(session, 'socket');
  return socket?.stream ?? socket;
}

/** Tells the peer to open no further streams. Those that it opens nevertheless are served. */
export function writeNotice(session: ServerHttp2Session): Noticed {
  const socket = internal<InternalSocket>(session, 'socket');
  const { fd, writeQueueSize, bytesWritten } = socket?._handle ?? {};
  if (socket === undefined || session.encrypted || typeof fd !== 'number' || fd < 0 || typeof writeQueueSize !== 'number') return 'impossible';
  if (session.connecting || bytesWritten === 0 || writeQueueSize > 0) return 'later'; // its first frame must be its settings
  return writeWhole(fd, socket);
}

/** Streams that are open, as far as the program is concerned; undefined: it can't be told. */
export function openStreams(session: ServerHttp2Session): readonly Http2Stream[] | undefined {
  const { streams, pendingStreams } = internal<InternalState>(session, 'state') ?? {};
  return streams && pendingStreams && [...streams.values(), ...pendingStreams];
}

/** How many bytes the session was given; undefined: it can't be told. */
export function bytesGiven(session: ServerHttp2Session): number | undefined {
  return internal<InternalSocket>(session, 'socket')?._handle?.bytesRead;
}

/** Bytes that have come on a session without an open stream; undefined: it has one, or it can't be told. */
export function bytesWhenIdle(session: ServerHttp2Session): number | undefined {
  return openStreams(session)?.length === 0 ? bytesGiven(session) : undefined;
}

/** All that the session had to say lies below it. */
export function hasSpoken(session: ServerHttp2Session): boolean {
  const waiting = internal<InternalSocket>(session, 'socket')?._handle?.writeQueueSize ?? 0;
  return session.state.outboundQueueSize === 0 && waiting === 0;
}

/** What Node keeps with a session under a symbol. */
export function internal<T>(session: object, name: string): T | undefined {
  const symbol = Object.getOwnPropertySymbols(session).find(({ description }) => description === name);
  return symbol && (session as Record<symbol, T | undefined>)[symbol];
}

function writeWhole(fd: number, socket: Socket): Noticed {
  const written = writeSome(fd, NOTICE);
  if (written === undefined || written === 0) return written === 0 ? 'later' : 'impossible';
  // a full buffer with some bytes of room, which is as good as never: a frame that was begun can't be left so
  if (written < NOTICE.length && writeSome(fd, NOTICE.subarray(written)) !== NOTICE.length - written) socket.destroy();
  return 'told';
}

/** @returns bytes; 0: the kernel's buffer is full; undefined: it can't be written to any more, which the session will notice by itself */
function writeSome(fd: number, bytes: Buffer): number | undefined {
  try {
    return writeSync(fd, bytes);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EAGAIN' ? 0 : undefined;
  }
}
