/**
 * Whether a program still owes an answer to what it was given, on connections whose protocol is its own. A listener that returns a promise says itself when it
 * is done, so the promises of the last messages are kept from the beginning of the connection on: one store a message. Of any other listener nothing is known:
 * what it was given counts as answered when something was sent since, or after a short silence; that is watched only while the worker drains, from the first time
 * that somebody asks.
 */
import { EventEmitter } from 'node:events';
import { emitsPlainly } from '../../node/emitter.ts';

/** So long anything may take that was begun before anybody watched, and anything that no promise tells of. */
const SILENCE_MS = 500;
/** A client that never pauses, and gets no answers, is not waited for longer. */
const PATIENCE_MS = 5_000;
/** Promises that are kept before it is looked which have settled. */
const FIRST_ROOM = 32;
/** So rarely that is looked at, since a look at a promise takes about as long as a message does. Until then the room grows. */
const LOOK_MS = 10;
/** In the largest room the older half is dropped instead: who has begun first has mostly ended first. */
const LARGEST_ROOM = 256;

interface Watch {
  readonly since: number;
  unanswered: number;
  lastAt: number;
  bytesRead: number;
}

interface Talk {
  readonly event: string;
  /** What its listeners have returned, as far as it may not have settled. */
  begun: unknown[];
  /** So many are kept before the next look. */
  room: number;
  /** Only while the worker drains. */
  watch?: Watch;
}

type Method = (this: unknown, ...args: unknown[]) => unknown;

const talks = new WeakMap<object, Talk>();
const nodesEmit = EventEmitter.prototype.emit as Method;
let lookedAt = 0;

/** From now on it is known which listeners of `event` have not done yet with what they were given. */
export function followTalk(talker: EventEmitter, event: string): void {
  if (talks.has(talker) || talker.emit !== EventEmitter.prototype.emit || !emitsPlainly(talker)) return;
  talks.set(talker, { event, begun: [], room: FIRST_ROOM });
  Object.defineProperty(talker, 'emit', { value: emitAndKeep, writable: true, configurable: true, enumerable: false }); // as it is inherited
}

/** Whether something that came by `event` may still be answered by the method `answer`. `bytesRead` tells of what came by another way. */
export function isOwed(talker: EventEmitter, [event, answer]: readonly [event: string, answer: string], bytesRead: number = 0): boolean {
  followTalk(talker, event);
  const now = performance.now();
  const talk = talks.get(talker) ?? { event, begun: [], room: FIRST_ROOM };
  talks.set(talker, talk);
  const watch = talk.watch ?? begin(talker, talk, answer, bytesRead);
  if (bytesRead > watch.bytesRead && watch.lastAt < now - SILENCE_MS) deliver(watch);
  watch.bytesRead = bytesRead;
  talk.begun = talk.begun.filter(isPending);
  if (talk.begun.length > 0 || now - watch.since < SILENCE_MS) return true;
  return watch.unanswered > 0 && now - watch.lastAt < SILENCE_MS && now - watch.since < PATIENCE_MS;
}

function begin(talker: EventEmitter, talk: Talk, answer: string, bytesRead: number): Watch {
  const now = performance.now();
  const watch: Watch = { since: now, unanswered: 0, lastAt: now, bytesRead };
  talk.watch = watch;
  const methods = talker as unknown as Record<string, Method>;
  const { emit, [answer]: send } = methods as { readonly emit: Method; readonly [answer: string]: Method };
  methods['emit'] = function (...args) {
    if (args[0] === talk.event) deliver(watch);
    return Reflect.apply(emit, this, args);
  };
  methods[answer] = function (...args) {
    if (watch.unanswered > 0) watch.unanswered--;
    return Reflect.apply(send as Method, this, args);
  };
  return watch;
}

function deliver(watch: Watch): void {
  watch.unanswered++;
  watch.lastAt = performance.now();
}

/** What Node's `emit` does, which drops what listeners return. One function for all of them. */
function emitAndKeep(this: EventEmitter, name: string, ...args: unknown[]): unknown {
  const talk = talks.get(this);
  if (talk?.event !== name) return Reflect.apply(nodesEmit, this, [name, ...args]);
  const listeners = this.rawListeners(name) as Method[];
  for (const listener of listeners) {
    const result = Reflect.apply(listener, this, args);
    if (result instanceof Promise) keep(talk, result);
  }
  return listeners.length > 0;
}

function keep(talk: Talk, promise: unknown): void {
  if (talk.begun.length >= talk.room) makeRoom(talk);
  talk.begun.push(promise);
}

function makeRoom(talk: Talk): void {
  const now = performance.now();
  if (talk.watch === undefined && now - lookedAt < LOOK_MS) {
    if (talk.room < LARGEST_ROOM) talk.room *= 2;
    else talk.begun.splice(0, talk.room / 2);
    return;
  }
  lookedAt = now;
  talk.begun = talk.begun.filter(isPending);
  talk.room = Math.max(FIRST_ROOM, 2 * talk.begun.length);
}

/** Looked at, not listened to: a promise with a listener counts as handled, and a program that hears of unhandled rejections would hear of one less. */
function isPending(promise: unknown): boolean {
  const { inspect } = process.getBuiltinModule('node:util');
  return /\{ <pending>/.test(inspect(promise, { depth: 0, customInspect: false, maxStringLength: 0, maxArrayLength: 0 }));
}
