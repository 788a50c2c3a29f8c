/**
 * Whether a program still owes an answer to what it was given, on connections whose protocol is its own. A listener that returns a promise says itself when it
 * is done; of any other nothing is known, so what it was given counts as answered when something was sent since, or after a short silence. Watched only
 * while the worker drains, from the first time that somebody asks.
 */
import { EventEmitter } from 'node:events';

/** So long anything may take that was begun before anybody watched, and anything that no promise tells of. */
const SILENCE_MS = 500;
/** A client that never pauses, and gets no answers, is not waited for longer. */
const PATIENCE_MS = 5_000;

interface Watch {
  readonly since: number;
  /** Promises that had not settled when they were last looked at. */
  pending: unknown[];
  unanswered: number;
  lastAt: number;
  bytesRead: number;
}

type Method = (this: unknown, ...args: unknown[]) => unknown;

const watches = new WeakMap<EventEmitter, Watch>();

/** Whether something that came by `event` may still be answered by the method `answer`. `bytesRead` tells of what came by another way. */
export function isOwed(talker: EventEmitter, [event, answer]: readonly [event: string, answer: string], bytesRead: number = 0): boolean {
  const now = performance.now();
  const watch = watches.get(talker) ?? begin(talker, event, answer, bytesRead);
  if (bytesRead > watch.bytesRead && watch.lastAt < now - SILENCE_MS) deliver(watch);
  watch.bytesRead = bytesRead;
  watch.pending = watch.pending.filter(isPending);
  if (watch.pending.length > 0 || now - watch.since < SILENCE_MS) return true;
  return watch.unanswered > 0 && now - watch.lastAt < SILENCE_MS && now - watch.since < PATIENCE_MS;
}

function begin(talker: EventEmitter, event: string, answer: string, bytesRead: number): Watch {
  const now = performance.now();
  const watch: Watch = { since: now, pending: [], unanswered: 0, lastAt: now, bytesRead };
  watches.set(talker, watch);
  const methods = talker as unknown as Record<string, Method>;
  const { emit, [answer]: send } = methods as { readonly emit: Method; readonly [answer: string]: Method };
  const isNodes = emit === (EventEmitter.prototype.emit as Method);
  methods['emit'] = function (name, ...args) {
    if (name !== event) return Reflect.apply(emit, this, [name, ...args]);
    deliver(watch);
    return isNodes ? emitAndWait(watch, talker, event, args) : Reflect.apply(emit, this, [name, ...args]);
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

/** What Node's `emit` does, which drops what listeners return. */
function emitAndWait(watch: Watch, talker: EventEmitter, event: string, args: readonly unknown[]): boolean {
  const listeners = talker.rawListeners(event) as Method[];
  for (const listener of listeners) {
    const result = Reflect.apply(listener, talker, args);
    if (result instanceof Promise) watch.pending.push(result);
  }
  return listeners.length > 0;
}

/** Looked at, not listened to: a promise with a listener counts as handled, and a program that hears of unhandled rejections would hear of one less. */
function isPending(promise: unknown): boolean {
  const { inspect } = process.getBuiltinModule('node:util');
  return /\{ <pending>/.test(inspect(promise, { depth: 0, customInspect: false, maxStringLength: 0, maxArrayLength: 0 }));
}
