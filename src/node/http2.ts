/**
 * An HTTP/2 frame below its session.
 *
 * `session.goaway()` makes nghttp2 drop every later stream in silence, whatever stream id it names, and stop reading when no stream is open, so that not even
 * an acknowledged PING is heard. A notice that refuses nothing yet has to be written past it.
 *
 * Undocumented, tried on 20.20, 22.23, 24.21, 26.10: the session's socket and its open streams under symbols called `socket` and `state`; `fd` and
 * `writeQueueSize` of the socket's handle. All that a
 * session sends at once are whole frames, and what the kernel does not take of them waits in that queue: when it is empty, the stream is between two frames.
 * The write goes to the kernel directly, since the session would take the end of any other for the end of its own (and abort). Missing, or behind TLS,
 * where only the session can write: `impossible`.
 */
import { writeSync } from 'node:fs';
import type { ServerHttp2Session } from 'node:http2';
import type { Socket } from 'node:net';

interface InternalSocket extends Socket {
  readonly _handle?: { readonly fd?: number; readonly writeQueueSize?: number } | null;
}

/** `later`: the stream is in the middle of a frame, or begins. */
export type Noticed = 'told' | 'later' | 'impossible';

/** @see RFC 9113 §6.8: GOAWAY of stream 0, with the largest stream id and NO_ERROR */
const NOTICE: Buffer = Buffer.from([0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);

/** Tells the peer to open no further streams. Those that it opens nevertheless are served. */
export function writeNotice(session: ServerHttp2Session): Noticed {
  const socket = internal<InternalSocket>(session, 'socket');
  const { fd, writeQueueSize } = socket?._handle ?? {};
  if (socket === undefined || session.encrypted || typeof fd !== 'number' || fd < 0 || typeof writeQueueSize !== 'number') return 'impossible';
  if (session.connecting || session.pendingSettingsAck || writeQueueSize > 0) return 'later'; // its first frame must be its settings
  return writeWhole(fd, socket);
}

/** Bytes that have come on a session without an open stream; undefined: it has one, or it can't be told. */
export function bytesWhenIdle(session: ServerHttp2Session): number | undefined {
  const state = internal<{ readonly streams?: ReadonlyMap<number, unknown> }>(session, 'state');
  return state?.streams?.size === 0 ? internal<InternalSocket>(session, 'socket')?.bytesRead : undefined;
}

function internal<T>(session: ServerHttp2Session, name: string): T | undefined {
  const symbol = Object.getOwnPropertySymbols(session).find(({ description }) => description === name);
  return symbol && (session as unknown as Record<symbol, T | undefined>)[symbol];
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
