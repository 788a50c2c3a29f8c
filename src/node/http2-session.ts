/**
 * An HTTP/2 session that leaves its connection, and one that is made for a connection that has a past.
 *
 * nghttp2 can't be told what it would have learnt from a connection; but it can be made to learn it. So the new session begins on a stand-in, is given what the
 * peer might have sent, answers into nothing, and gets the connection when it knows everything. From then on it is one like any other.
 *
 * Undocumented, each tried on 20.20, 22.23, 24.21, 26.10; missing: sessions stay, and end gracefully.
 * - `native.destroy(0, true)`, what Node calls when a socket has closed: the session lets go of the stream that it reads, and says nothing. `native.ondone` is told.
 * - `native.receive(bytes)`: what has come before there was a session. `native.consume(handle)`: whose stream it reads and writes.
 * - A handle that is deleted, in the turn of the loop after its `close`, takes its listeners off; `getAsyncId` tells, since it then gives -1. A session
 *   without a stream answers into nothing; one that had a second stream while it still has the first would abort. `new handle.constructor(0)`: a socket that
 *   was never opened. Each write to it fails, which a session takes for a write that was done, as far as its own frames are concerned.
 * - Without a handle, as behind TLS in JavaScript, a session writes by `write`, and asks for more by `resume`.
 */
import type { ServerHttp2Session, ServerHttp2Stream } from 'node:http2';
import type { Server, Socket } from 'node:net';
import { internal } from './http2.ts';

interface NativeSession {
  consume?(handle: StreamHandle): void;
  receive?(bytes: Buffer): void;
  destroy?(code: number, isSocketClosed: boolean): void;
  ondone?: (() => void) | null;
}

interface StreamHandle {
  readonly constructor: new (type: number) => StreamHandle;
  readonly isStreamBase?: boolean;
  reading?: boolean;
  readStart?(): number;
  readStop?(): number;
  getAsyncId?(): number;
  close(callback?: () => void): void;
}

interface InternalSocket {
  _handle: StreamHandle | null;
}

type Method = (...args: unknown[]) => unknown;

/** What the program asks of a socket while its session still learns is meant for the connection. */
const MEANT = ['getpeername', 'getsockname', 'setNoDelay', 'setKeepAlive', 'ref', 'unref', 'setTypeOfService', 'getTypeOfService'] as const;
const left = new WeakSet<ServerHttp2Session>();
const MOST_TURNS = 100;

/** This Node has what is needed to take a session away from its connection, and to make another one. */
export function canLeave(session: ServerHttp2Session): boolean {
  const native = internal<NativeSession>(session, 'kHandle');
  return typeof native?.consume === 'function' && typeof native.receive === 'function' && typeof native.destroy === 'function';
}

/** The session has left its connection. */
export function hasLeft(session: ServerHttp2Session): boolean {
  return left.has(session);
}

/** Takes the session off its connection, with nothing on the wire. For its program it stays as it is until its socket closes. */
export function leave(session: ServerHttp2Session): void {
  const native = internal<NativeSession>(session, 'kHandle');
  if (!native?.destroy) return;
  left.add(session);
  session.setTimeout(0);
  native.ondone = () => {};
  native.destroy(0, true);
  native.destroy = () => native.ondone?.(); // what Node waits for when the socket closes
}

/** A session that nobody but its maker knows yet. */
export interface Novice {
  readonly session: ServerHttp2Session;
  /** As if its peer had sent them. */
  give(bytes: Buffer): void;
  /** The next request is for its maker, and for nobody else. */
  onRequest(listener: (stream: ServerHttp2Stream) => void): void;
  /** It reads and writes the connection from now on. @param farewell is written to it first */
  join(farewell: Buffer): Promise<void>;
  /** Its server has it, and hears what it was to hear meanwhile. */
  announce(): void;
}

/** Lets a server begin a session on a connection, without the connection. @returns undefined: it does not begin one at once */
export function makeNovice(server: Server, socket: Socket, announceSocket: () => void): Novice | undefined {
  const stand = (socket as unknown as InternalSocket)._handle?.isStreamBase ? standIn(socket) : holdBack(socket);
  let session: ServerHttp2Session | undefined;
  const restore = intercept(server, (event, args) => {
    if (event !== 'session') return false;
    session = args[0] as ServerHttp2Session;
    return true;
  });
  try {
    announceSocket();
  } finally {
    restore();
    if (session === undefined) stand.giveUp();
  }
  return session && noviceOf(server, session, stand);
}

function noviceOf(server: Server, session: ServerHttp2Session, stand: Stand): Novice {
  const native = internal<NativeSession>(session, 'kHandle') as Required<NativeSession>;
  const missed: unknown[][] = [];
  let request: ((stream: ServerHttp2Stream) => void) | undefined;
  const restore = intercept(session, (event, args) => {
    if (event === 'stream') request?.(args[0] as ServerHttp2Stream);
    else missed.push([event, ...args]);
    return true;
  });
  return {
    session,
    give: (bytes) => native.receive(bytes),
    onRequest(listener) {
      request = listener;
    },
    join: (farewell) => stand.end(native, farewell),
    announce() {
      restore();
      server.emit('session', session);
      // it stands where it stood: of its own first settings, and of those of its peer that it was taught bit by bit, the outcome is all there is to tell
      for (const event of missed.filter(([name], index) => name !== 'localSettings' && missed.findLastIndex(([other]) => other === name) === index)) {
        (session.emit as Method)(...event);
      }
    },
  };
}

/** What a session has in place of its connection. */
interface Stand {
  end(native: Required<NativeSession>, farewell: Buffer): Promise<void>;
  giveUp(): void;
}

function standIn(socket: Socket): Stand {
  const internalSocket = socket as unknown as InternalSocket;
  const handle = internalSocket._handle as StreamHandle;
  handle.readStop?.(); // what comes meanwhile waits in the kernel
  handle.reading = false;
  const stand = new handle.constructor(0);
  stand.readStart = stand.readStop = () => 0;
  const methods = stand as unknown as Record<string, Method | undefined>;
  for (const name of MEANT) {
    const method = (handle as unknown as Record<string, Method | undefined>)[name];
    if (method) methods[name] = method.bind(handle);
  }
  const { close } = stand;
  stand.close = (callback) => {
    handle.close();
    close.call(stand, callback);
  };
  const giveBack = () => {
    stand.close = close;
    stand.close();
    internalSocket._handle = handle;
  };
  internalSocket._handle = stand;
  return {
    async end(native, farewell) {
      if (socket.destroyed) return;
      giveBack();
      for (let turns = 0; (stand.getAsyncId?.() ?? 0) >= 0; turns++) {
        if (turns > MOST_TURNS) throw new Error('this version of Node keeps a handle that was closed');
        await nextTurn();
      }
      await writeTo(socket, farewell);
      if (socket.destroyed) return;
      native.consume(handle);
      handle.reading = true;
      handle.readStart?.();
    },
    giveUp: giveBack,
  };
}

/** The stream has no handle: what is written to it gets lost, and what it has to give waits, until it is given back. */
function holdBack(socket: Socket): Stand {
  const methods = socket as unknown as Record<string, Method>;
  methods['write'] = (...args) => {
    const done = args.findLast((argument) => typeof argument === 'function') as (() => void) | undefined;
    if (done) process.nextTick(done);
    return true;
  };
  methods['resume'] = () => socket;
  const giveBack = () => {
    Reflect.deleteProperty(socket, 'write');
    Reflect.deleteProperty(socket, 'resume');
  };
  return {
    async end(_native, farewell) {
      await nextTurn(); // the last write is told to have been done only then
      giveBack();
      await writeTo(socket, farewell);
      if (!socket.destroyed) socket.resume();
    },
    giveUp: giveBack,
  };
}

/** Resolves as well if the socket closes meanwhile. A peer that does not read is waited for: nobody could be told anything before. */
function writeTo(socket: Socket, bytes: Buffer): Promise<void> {
  return new Promise((resolve) => {
    if (bytes.length === 0 || socket.destroyed) return resolve();
    socket.once('close', resolve);
    socket.write(bytes, () => {
      socket.off('close', resolve);
      resolve();
    });
  });
}

/** All that was scheduled to be written has been written by then. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Sees each event of an emitter before its listeners do, and may take it; `pass` gives it to them. @returns ends that */
export function intercept(emitter: object, take: (event: string, args: readonly unknown[], pass: () => unknown) => boolean): () => void {
  const before = Object.getOwnPropertyDescriptor(emitter, 'emit');
  const emit = (emitter as { readonly emit: Method }).emit;
  const value = function (this: unknown, event: string, ...args: unknown[]) {
    const pass = () => Reflect.apply(emit, this, [event, ...args]);
    return take(event, args, pass) || pass();
  };
  Object.defineProperty(emitter, 'emit', { value, configurable: true, writable: true }); // defined, not set: the class of the program may have a setter
  return () => {
    if (before) Object.defineProperty(emitter, 'emit', before);
    else Reflect.deleteProperty(emitter, 'emit');
  };
}
