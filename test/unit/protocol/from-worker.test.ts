/** What a worker says is believed only where it fits. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { parseFromWorker } from '../../../src/protocol/from-worker.ts';
import { BAGGAGE_LIMIT, BODY_LIMIT, type FromWorker, KEY_LIMIT } from '../../../src/protocol/worker.ts';

const listen: FromWorker = {
  type: 'listen',
  id: 1,
  isDatagram: false,
  address: '127.0.0.1',
  port: 8080,
  addressType: 4,
  flags: 0,
  backlog: 511,
  index: 0,
  readableAll: false,
  writableAll: false,
  umask: null,
  isFinal: false,
  serverData: null,
};
const offer: FromWorker = { type: 'offer', id: 4, listener: 2, kind: 'http', baggage: 'x'.repeat(BAGGAGE_LIMIT) };
const error = { name: 'Error', message: 'boom' };

describe('a message of every kind is understood', () => {
  const messages: readonly FromWorker[] = [
    listen,
    { ...listen, address: null, addressType: 6, flags: 1, serverData: { ticketKeys: 'x' } },
    { ...listen, address: '/run/app.sock', port: -1, addressType: -1, readableAll: true },
    { type: 'listening', isListening: true },
    { ...listen, isDatagram: true, port: 53, flags: 5 },
    { type: 'membership', id: 1, isMember: true, source: null, group: '239.1.2.3', via: null },
    { type: 'membership', id: 1, isMember: false, source: '127.0.0.1', group: '232.1.2.3', via: '127.0.0.1' },
    { type: 'closed', id: 7 },
    { type: 'ready' },
    { type: 'preflight-failed', failure: { request: '/healthz', status: 500, body: 'x'.repeat(BODY_LIMIT) } },
    { type: 'preflight-failed', failure: { request: 'preflight(database)', error: 'Error: no database' } },
    { type: 'admitted' },
    { type: 'admit-failed', error },
    { type: 'withdrew' },
    offer,
    { ...offer, kind: '', baggage: '' },
    { type: 'adopted', ticket: 2 ** 32 - 1, connections: 0 },
    { type: 'refused', ticket: 1, reason: 'no such server', isFinal: true },
    { type: 'settled', open: 0 },
    { type: 'settled', open: 2, stayed: { 'no room': 2 } },
    { type: 'drained', closed: { http: 2, tcp: 0 }, cut: {} },
    { type: 'failed', error: { ...error, stack: 'at x', code: 'ENOENT', syscall: 'open' } },
    { type: 'vitals', id: 3, connections: 0, rssBytes: 1 },
    { type: 'checked', id: 3, failure: null },
    { type: 'checked', id: 3, failure: { request: '/healthz', status: 200, error: 'no answer within 5 s' } },
    { type: 'notice', text: 'hello' },
    { type: 'key', key: Buffer.alloc(44).toString('base64') },
  ];
  for (const message of messages) test(message.type, () => assert.deepEqual(parseFromWorker(message), message));
});

/** The mistake that is found. */
function mistakeOf(value: unknown): string {
  const result = parseFromWorker(value);
  assert.ok('mistake' in result, JSON.stringify(result));
  return result.mistake;
}

describe('a message that does not fit is refused', () => {
  for (const value of [undefined, null, '', 'ready', 7, [], {}, { type: 'unknown' }, { type: 'toString' }, { type: ['ready'] }]) {
    test(String(JSON.stringify(value)), () => assert.notEqual(mistakeOf(value), ''));
  }

  const wrong: readonly (readonly [string, Record<string, unknown>])[] = [
    ['port', { ...listen, port: 65536 }],
    ['port', { ...listen, port: -2 }],
    ['port', { ...listen, port: '80' }],
    ['id', { ...listen, id: 1.5 }],
    ['id', { ...listen, id: Number.NaN }],
    ['index', { ...listen, index: -1 }],
    ['addressType', { ...listen, addressType: 5 }],
    ['address', { ...listen, address: 'x'.repeat(4097) }],
    ['readableAll', { ...listen, readableAll: 1 }],
    ['error', { type: 'failed' }],
    ['error.message', { type: 'failed', error: { name: 'Error', message: 7 } }],
    ['id', { ...offer, id: '4' }],
    ['listener', { ...offer, listener: 0.5 }],
    ['kind', { ...offer, kind: 'x'.repeat(65) }],
    ['baggage', { ...offer, baggage: 'x'.repeat(BAGGAGE_LIMIT + 1) }],
    ['baggage', { ...offer, baggage: null }],
    ['ticket', { type: 'adopted', connections: 1 }],
    ['ticket', { type: 'adopted', ticket: Number.POSITIVE_INFINITY, connections: 1 }],
    ['connections', { type: 'adopted', ticket: 1, connections: -1 }],
    ['ticket', { type: 'refused', ticket: '1', reason: '', isFinal: true }],
    ['reason', { type: 'refused', ticket: 1, isFinal: true }],
    ['isFinal', { type: 'refused', ticket: 1, reason: '' }],
    ['open', { type: 'settled' }],
    ['open', { type: 'settled', open: -1 }],
    ['open', { type: 'settled', open: 0.5 }],
    ['closed.http', { type: 'drained', closed: { http: -1 }, cut: {} }],
    ['cut', { type: 'drained', closed: {}, cut: null }],
    ['connections', { type: 'vitals', id: 1, connections: 0.5, rssBytes: 1 }],
    ['rssBytes', { type: 'vitals', id: 1, connections: 0, rssBytes: -1 }],
    ['failure', { type: 'preflight-failed' }],
    ['failure.request', { type: 'preflight-failed', failure: {} }],
    ['failure.status', { type: 'preflight-failed', failure: { request: '/', status: '500' } }],
    ['failure.body', { type: 'preflight-failed', failure: { request: '/', body: 'x'.repeat(BODY_LIMIT + 1) } }],
    ['id', { type: 'checked', failure: null }],
    ['failure', { type: 'checked', id: 1 }],
    ['text', { type: 'notice' }],
    ['key', { type: 'key', key: 'A'.repeat(KEY_LIMIT + 4) }],
    ['key', { type: 'key', key: 'not base64' }],
    ['key', { type: 'key', key: null }],
  ];
  for (const [where, value] of wrong) {
    test(`${value.type}: the mistake is in ${where}`, () => assert.ok(mistakeOf(value).startsWith(`${where}: `), mistakeOf(value)));
  }
});

test('a long text is cut, not refused: it tells why a worker died', () => {
  const parsed = parseFromWorker({ type: 'failed', error: { ...error, stack: 'x'.repeat(1e6) } });
  assert.ok('error' in parsed);
  assert.equal(parsed.error.stack?.length, 65_536);
  const refused = parseFromWorker({ type: 'refused', ticket: 1, reason: 'x'.repeat(1e6), isFinal: true });
  assert.ok('reason' in refused);
  assert.equal(refused.reason.length, 65_536);
});

test('what is not part of a message is dropped', () => assert.deepEqual(parseFromWorker({ type: 'ready', extra: 1 }), { type: 'ready' }));

test('nothing that a worker can say throws', () => {
  const types = fc.constantFrom(
    'listen',
    'offer',
    'adopted',
    'refused',
    'settled',
    'drained',
    'failed',
    'admit-failed',
    'vitals',
    'notice',
    'key',
    'ready',
    'preflight-failed',
    'checked',
  );
  const others = ['error', 'closed', 'cut', 'count', 'text', 'listener', 'kind', 'baggage', 'ticket', 'connections', 'reason', 'open'];
  const shaped = fc.tuple(types, fc.dictionary(fc.constantFrom(...Object.keys(listen), ...others), fc.anything()));
  const said = fc.oneof(
    fc.anything(),
    shaped.map(([type, fields]) => ({ ...fields, type })),
  );
  fc.assert(fc.property(said, (value) => void parseFromWorker(value)));
});

test('a listen that can not be understood is known by its number, so that it is answered', () => {
  const result = parseFromWorker({ ...listen, id: 7, flags: 1.5 });
  assert.deepEqual('mistake' in result && result.listen, 7);
  const other = parseFromWorker({ type: 'ready?', id: 7 });
  assert.deepEqual('mistake' in other && other.listen, null);
});
