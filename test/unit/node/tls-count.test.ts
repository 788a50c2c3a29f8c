/** Records are counted from bytes. The truth is made up here, and no story of it makes the number to the client too low. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { countRead, countWritten, largestFragmentIn, OVERHEAD, ticketsAmongFrames, ticketsIn } from '../../../src/node/tls-count.ts';

/** Ticket messages of OpenSSL, split into fragments where they are longer than the client's largest. */
const tickets = fc.record({
  count: fc.integer({ min: 0, max: 2 }),
  blocks: fc.integer({ min: 2, max: 400 }),
  largest: fc.constantFrom(512, 1024, 2048, 4096, 16_384),
});
const sizeOf = (blocks: number, largest: number) => {
  const message = 25 + 16 * blocks;
  const records = Math.ceil(message / largest);
  return { records, bytes: message + OVERHEAD * records };
};

test('The number of tickets is right, or they are not counted', () => {
  fc.assert(
    fc.property(tickets, ({ count, blocks, largest }) => {
      const { records, bytes } = sizeOf(blocks, largest);
      const counted = ticketsIn(count * bytes, largest);
      if (records === 1 || count === 0) assert.deepEqual(counted, { records: count, bytes: count * bytes });
      else assert.ok(counted === undefined || counted.records >= count * records, 'too low');
    }),
    { numRuns: 20_000 },
  );
});

test('Tickets are told from the first frames of a session that were sealed with them', () => {
  const frames = fc.array(fc.integer({ min: 9, max: 40 }), { maxLength: 7 });
  fc.assert(
    fc.property(tickets, frames, ({ count, blocks, largest }, written) => {
      const { records, bytes } = sizeOf(blocks, largest);
      const plain = written.reduce((sum, length) => sum + length, 0);
      const overhead = count * bytes + OVERHEAD * written.length;
      const found = ticketsAmongFrames(overhead, plain, largest);
      const next = found && countWritten(overhead, found);
      const truth = count * records + written.length;
      if (next !== undefined) assert.ok(records === 1 ? next === truth : next >= truth);
      else assert.ok(plain >= 72 || (count > 0 && records > 1) || overhead > largest);
    }),
    { numRuns: 20_000 },
  );
});

test('Where less is seen than was sealed with the first frames, the number is never too low', () => {
  const story = fc.record({
    written: fc.array(fc.integer({ min: 9, max: 66 }), { maxLength: 7 }), // 22, 44 and 66 among them, which are as long as one, two and three costs
    unseen: fc.oneof(
      fc.integer({ min: 1, max: 1_500 }),
      fc.integer({ min: 1, max: 60 }).map((costs) => costs * OVERHEAD),
    ),
    later: fc.integer({ min: 0, max: 1_000 }),
  });
  fc.assert(
    fc.property(tickets, story, ({ count, blocks, largest }, { written, unseen, later }) => {
      const { records, bytes } = sizeOf(blocks, largest);
      const plain = written.reduce((sum, length) => sum + length, 0);
      const overhead = count * bytes + OVERHEAD * written.length;
      const found = ticketsAmongFrames(overhead - unseen, plain, largest);
      const next = found && countWritten(overhead + OVERHEAD * later, found);
      if (next !== undefined) assert.ok(next >= count * records + written.length + later);
    }),
    { numRuns: 50_000 },
  );
});

test('Whatever OpenSSL sends unasked, the number of the next record is never too low', () => {
  const extra = fc.array(fc.integer({ min: OVERHEAD, max: 60 })); // records whose plaintext nobody counts: alerts, key updates, a ticket
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 }), fc.integer({ min: 0, max: 2 ** 40 }), extra, (count, data, unknown) => {
      const bytes = count * 271;
      const overhead = bytes + OVERHEAD * data + unknown.reduce((sum, length) => sum + length, 0);
      const counted = countWritten(overhead, { records: count, bytes });
      assert.ok(counted === undefined || counted >= count + data + unknown.length);
      if (unknown.length === 0) assert.equal(counted, count + data);
    }),
  );
});

test('Records from a client without certificate are counted, and a part of one is noticed unless it is as long as the cost of a whole one', () => {
  const story = fc.record({ flight: fc.constantFrom(58, 64), records: fc.array(fc.integer({ min: 1, max: 16_384 })), part: fc.integer({ min: 0, max: 200 }) });
  fc.assert(
    fc.property(story, ({ flight, records, part }) => {
      const plain = records.reduce((sum, length) => sum + length, 0);
      const bytes = flight + plain + OVERHEAD * records.length + part;
      const counted = countRead({ bytes, plain, hashLength: 32, flightWithCertificate: undefined, residue: undefined });
      if (part === 0) assert.equal(counted?.sequence, records.length);
      if (counted) assert.ok([0, 6, 16].includes(part % OVERHEAD)); // 6: the other flight
    }),
  );
});

test('With a certificate, records are between two when the remainder is that of the first request', () => {
  const incoming = { bytes: 2_000 + 3 * OVERHEAD + 90, plain: 90, hashLength: 48, flightWithCertificate: 2_000, residue: 2_000 % OVERHEAD };
  assert.equal(countRead(incoming)?.sequence, 3);
  assert.equal(countRead({ ...incoming, bytes: incoming.bytes + 5 }), undefined);
  assert.equal(countRead({ ...incoming, residue: undefined }), undefined);
});

test('The largest fragment is read from a session, or not at all', () => {
  const session = (...values: number[][]) => Buffer.from([0x30, values.flat().length, ...values.flat()]);
  const version = [0x02, 1, 1];
  assert.equal(largestFragmentIn(session(version)), 16_384);
  for (const [code, largest] of [
    [0, 16_384],
    [1, 512],
    [2, 1_024],
    [3, 2_048],
    [4, 4_096],
  ])
    assert.equal(largestFragmentIn(session(version, [0xb1, 3, 2, 1, code as number])), largest);
  assert.equal(largestFragmentIn(session(version, [0xb1, 3, 2, 1, 9])), undefined);
  fc.assert(fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => void largestFragmentIn(Buffer.from(bytes)))); // garbage does not throw
});
