/** Parses what a worker says. A worker runs foreign code: whatever does not fit is refused, and harms nobody. */
import * as v from 'valibot';
import { BAGGAGE_LIMIT, BODY_LIMIT, type FromWorker, KEY_LIMIT } from './worker.ts';

const whole = v.pipe(v.number(), v.integer());
const label = v.pipe(v.string(), v.maxLength(64));
const address = v.pipe(v.string(), v.maxLength(256));
const counts = v.record(label, v.pipe(whole, v.minValue(0)));
const reasons = v.optional(v.record(v.pipe(v.string(), v.maxLength(512)), v.pipe(whole, v.minValue(0))));
const TEXT_LIMIT = 64 * 1024;
const longText = v.pipe(
  v.string(),
  v.transform((text) => text.slice(0, TEXT_LIMIT)),
);

const error = v.object({
  name: longText,
  message: longText,
  stack: v.optional(longText),
  code: v.optional(longText),
  syscall: v.optional(longText),
});

const failure = v.object({
  request: longText,
  status: v.optional(v.pipe(whole, v.minValue(0), v.maxValue(999))),
  body: v.optional(v.pipe(v.string(), v.maxLength(BODY_LIMIT))),
  error: v.optional(longText),
});

const message = v.variant('type', [
  v.object({
    type: v.literal('listen'),
    id: whole,
    isDatagram: v.boolean(),
    address: v.nullable(v.pipe(v.string(), v.maxLength(4096))),
    port: v.pipe(whole, v.minValue(-1), v.maxValue(65535)),
    addressType: v.picklist([4, 6, -1]),
    flags: whole,
    backlog: whole,
    index: v.pipe(whole, v.minValue(0)),
    readableAll: v.boolean(),
    writableAll: v.boolean(),
    umask: v.nullable(v.pipe(whole, v.minValue(0), v.maxValue(0o777))),
    isFinal: v.boolean(),
    serverData: v.unknown(),
  }),
  v.object({ type: v.literal('closed'), id: whole }),
  v.object({ type: v.literal('membership'), id: whole, isMember: v.boolean(), source: v.nullable(address), group: address, via: v.nullable(address) }),
  v.object({ type: v.literal('listening'), isListening: v.boolean() }),
  v.object({ type: v.literal('ready'), isQuiet: v.optional(v.boolean()) }),
  v.object({ type: v.literal('preflight-failed'), failure }),
  v.object({ type: v.literal('admitted') }),
  v.object({ type: v.literal('admit-failed'), error }),
  v.object({ type: v.literal('withdrew') }),
  v.object({ type: v.literal('offer'), id: whole, listener: whole, kind: label, baggage: v.pipe(v.string(), v.maxLength(BAGGAGE_LIMIT)) }),
  v.object({ type: v.literal('adopted'), ticket: whole, connections: v.pipe(whole, v.minValue(0)) }),
  v.object({ type: v.literal('refused'), ticket: whole, reason: longText, isFinal: v.boolean() }),
  v.object({ type: v.literal('given-back'), tickets: v.array(whole) }),
  v.object({ type: v.literal('settled'), open: v.pipe(whole, v.minValue(0)), stayed: reasons }),
  v.object({ type: v.literal('drained'), closed: counts, cut: counts }),
  v.object({ type: v.literal('failed'), error }),
  v.object({ type: v.literal('vitals'), id: whole, connections: v.pipe(whole, v.minValue(0)), rssBytes: v.nullable(v.pipe(v.number(), v.minValue(0))) }),
  v.object({ type: v.literal('checked'), id: whole, failure: v.nullable(failure) }),
  v.object({ type: v.literal('key'), key: v.pipe(v.string(), v.base64(), v.maxLength(KEY_LIMIT)) }),
  v.object({ type: v.literal('notice'), text: longText, level: v.optional(v.picklist(['info', 'warn'])) }),
]);

/** What a listen has at least: who asks waits for an answer. */
const question = v.object({ type: v.literal('listen'), id: whole });

/** In words what is wrong with a message. */
export interface Mistake {
  readonly mistake: string;
  /** The number of the listen that it was to be; null: it was none. */
  readonly listen: number | null;
}

/** The message, or what is wrong with it. */
export function parseFromWorker(value: unknown): FromWorker | Mistake {
  const result = v.safeParse(message, value);
  if (result.success) return result.output as FromWorker;
  const [issue] = result.issues;
  const refused = v.safeParse(question, value);
  return { mistake: `${v.getDotPath(issue) ?? 'message'}: ${issue.message}`, listen: refused.success ? refused.output.id : null };
}
