/**
 * Finds the moments at which a session may move: no stream is open, and no part of a frame lies in nghttp2, which does not say what it has.
 *
 * A PING's acknowledgement has 17 bytes, and can't have begun before the PING was sent. If just 17 bytes have come between the two, they are the acknowledgement
 * and nothing else: so the peer's frames are at a boundary, and stay so until another byte comes. A client that asks for the next thing as soon as it has
 * the last one would never be found so; therefore a lone request waits until the boundary behind it is known, a round trip, and the session is caught in the
 * very moment in which its stream closes.
 *
 * The peer's compressor must know nothing. One that has never put anything into its table (nginx, HAProxy) is left alone; any other is told to have none when
 * the drain begins. Of those that do not listen to it (RFC 9113 §4.3.1) nghttp2 ends the connection at their next request, so they must not be told.
 */
import type { Http2Stream, ServerHttp2Session } from 'node:http2';
import { agentOf, bytesGiven, hasSpoken, openStreams } from '../../../node/http2.ts';
import { canLeave, hasLeft, intercept } from '../../../node/http2-session.ts';
import { keepBody } from '../../../node/http2-stream.ts';
import { guarded } from '../../guard.ts';
import { PING_BYTES } from './frames.ts';

/** Most PINGs between two sweeps: a peer that floods gets no more. */
const MOST_PINGS = 4;
/** So long a request waits at most, and so many of a session. */
const HOLD_MS = 200;
const MOST_HOLDS = 20;
/** A peer that acknowledges nothing for so long never will. */
const PATIENCE_MS = 3_000;

/** Go's own client: before 1.20 it does not listen, and which one it is it does not say. */
const DEAF = /^Go-http-client\//;

type Callback = (...results: unknown[]) => void;

const watches = new WeakMap<ServerHttp2Session, Watch>();

/**
 * Looks for such moments from now on; to be called again and again. `onQuiet` hears of one. `isTrusted`: its program has opted in, and knows its clients.
 * @returns false: there will be none
 */
export function watchSession(session: ServerHttp2Session, isTrusted: boolean, onQuiet: () => void): boolean {
  if (session.destroyed || session.closed || hasLeft(session) || !canLeave(session)) return false;
  const watch = watches.get(session) ?? new Watch(session, isTrusted);
  watches.set(session, watch);
  return watch.look(onQuiet);
}

/** The session may move at this moment. */
export function mayLeave(session: ServerHttp2Session): boolean {
  return watches.get(session)?.isQuiet() === true;
}

/** It moves, or is not to move any more. */
export function endWatch(session: ServerHttp2Session): void {
  watches.get(session)?.end();
}

class Watch {
  readonly #session: ServerHttp2Session;
  readonly #isTrusted: boolean;
  readonly #beganAt: number = performance.now();
  readonly #watched = new WeakSet<Http2Stream>();
  #onQuiet: () => void = () => {};
  /** Bytes given when frames were last known to be whole. */
  #boundary: number | undefined;
  #isAnswered = false;
  #isProbing = false;
  #hasEnded = false;
  #pings = 0;
  #holds = 0;
  /** PINGs of the program that are not acknowledged: their acknowledgements would be news to another session. */
  #foreign = 0;
  #held: (() => void) | undefined;
  #restore: () => void = () => {};

  constructor(session: ServerHttp2Session, isTrusted: boolean) {
    this.#session = session;
    this.#isTrusted = isTrusted;
    const restore = intercept(session, (event, [stream], pass) => event === 'stream' && this.#onStream(stream as Http2Stream, pass));
    const unwrap = this.#countPings();
    this.#restore = () => {
      restore();
      unwrap();
    };
    for (const stream of openStreams(session) ?? []) this.#followStream(stream);
    this.#emptyTable();
    this.#probe();
  }

  look(onQuiet: () => void): boolean {
    if (this.#hasEnded) return false;
    this.#onQuiet = onQuiet;
    this.#pings = 0;
    this.#emptyTable();
    if (!this.#isAtBoundary()) this.#probe();
    const hasPatience = performance.now() - this.#beganAt < PATIENCE_MS || (this.#isAnswered && !this.#session.pendingSettingsAck);
    if (!hasPatience) this.end();
    return hasPatience;
  }

  isQuiet(): boolean {
    const session = this.#session;
    if (this.#hasEnded || session.destroyed || session.closed || hasLeft(session)) return false;
    const isStill = this.#isAtBoundary() && openStreams(session)?.length === 0 && hasSpoken(session);
    const isAnswered = !this.#isProbing && this.#foreign === 0 && !session.pendingSettingsAck;
    return isStill && isAnswered && (session.state.inflateDynamicTableSize === 0 || session.localSettings.headerTableSize === 0);
  }

  end(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#restore();
    this.#release();
  }

  /** The program may have asked for another size meanwhile, or a session that came back for its own. */
  #emptyTable(): void {
    const { pendingSettingsAck, localSettings, state } = this.#session;
    if (pendingSettingsAck || localSettings.headerTableSize === 0 || state.inflateDynamicTableSize === 0) return;
    if (!this.#isTrusted && DEAF.test(agentOf(this.#session) ?? '')) this.end();
    else this.#session.settings({ headerTableSize: 0 });
  }

  #isAtBoundary(): boolean {
    return this.#boundary !== undefined && this.#boundary === bytesGiven(this.#session);
  }

  #probe(): void {
    const session = this.#session;
    if (this.#hasEnded || this.#isProbing || this.#pings >= MOST_PINGS || session.destroyed || session.closed) return;
    const before = bytesGiven(session);
    if (before === undefined) return;
    this.#pings++;
    const onAnswer = guarded((error: Error | null) => {
      this.#isProbing = false;
      if (error === null) this.#onAnswer(before);
    });
    this.#isProbing = this.#ping(onAnswer);
  }

  /** The session's own `ping`, whatever has been put in its place. */
  #ping(callback: (error: Error | null) => void): boolean {
    return this.#session.constructor.prototype.ping.call(this.#session, callback) === true;
  }

  #onAnswer(before: number): void {
    this.#isAnswered = true;
    const now = bytesGiven(this.#session);
    if (now === before + PING_BYTES) this.#boundary = now;
    if (this.#isAtBoundary())
      setImmediate(guarded(() => this.#release())); // outside of nghttp2
    else if (this.#held || openStreams(this.#session)?.length === 0) return this.#probe();
    this.#tellSoon();
  }

  /** What is scheduled to be written is written first; and nothing is read before that. */
  #tellSoon(): void {
    setImmediate(
      guarded(() => {
        if (this.isQuiet()) this.#onQuiet();
        else if (!this.#isAtBoundary() && openStreams(this.#session)?.length === 0) this.#probe();
      }),
    );
  }

  #followStream(stream: Http2Stream): void {
    if (this.#watched.has(stream)) return;
    this.#watched.add(stream);
    stream.once('close', () => this.#tellSoon());
  }

  /** @returns the program hears of it later */
  #onStream(stream: Http2Stream, pass: () => unknown): boolean {
    this.#followStream(stream);
    if (this.#held || this.#holds >= MOST_HOLDS || openStreams(this.#session)?.length !== 1) {
      this.#release();
      return false;
    }
    this.#probe();
    if (!this.#isProbing) return false;
    this.#holds++;
    const timer = setTimeout(
      guarded(() => this.#release()),
      HOLD_MS,
    );
    const deliver = keepBody(stream);
    this.#held = () => {
      clearTimeout(timer);
      if (!stream.destroyed) deliver(pass);
    };
    return true;
  }

  #release(): void {
    const held = this.#held;
    this.#held = undefined;
    held?.();
  }

  #countPings(): () => void {
    const session = this.#session;
    const { ping } = session;
    const isOwn = Object.hasOwn(session, 'ping');
    session.ping = ((...args: unknown[]) => {
      const at = args.findIndex((argument) => typeof argument === 'function');
      const sent = Reflect.apply(ping, session, at < 0 ? args : args.with(at, this.#counted(args[at] as Callback))) as boolean;
      if (at >= 0) this.#foreign++;
      return sent;
    }) as typeof session.ping;
    return () => {
      if (isOwn) session.ping = ping;
      else Reflect.deleteProperty(session, 'ping');
    };
  }

  /** Node calls each back in the end, whether it was sent or not. */
  #counted(callback: Callback): Callback {
    return (...results) => {
      this.#foreign--;
      callback(...results);
    };
  }
}
