/**
 * What an event emitter does besides calling its listeners.
 *
 * Undocumented: with `captureRejections` Node looks at what listeners return, which it marks by a symbol that is called `kCapture`; a domain has a property
 * `domain`. Tried on 20.20, 22.23, 24.21, 26.10. Should the symbol be called otherwise, an emitter that captures rejections passes for a plain one, whose
 * rejections nobody captures.
 */
import { EventEmitter } from 'node:events';

const capture = Object.getOwnPropertySymbols(EventEmitter.prototype).find(({ description }) => description === 'kCapture');

/** It calls its listeners, and nothing else: no domain is entered, and no rejection is captured. */
export function emitsPlainly(emitter: EventEmitter): boolean {
  const marks = emitter as unknown as Record<PropertyKey, unknown>;
  return !marks['domain'] && !(capture && marks[capture]);
}
