import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Address, type Bound, conflicts, describe as inWords, isSame, servesFor } from '../../../../src/master/listeners/addresses.ts';
import { parseStoredName, storedName } from '../../../../src/master/listeners/descriptor-store.ts';

const at = (address: string, port = 80, flags = 0): Bound => ({
  isDatagram: false,
  address,
  port,
  boundPort: port,
  addressType: address.startsWith('/') || address.startsWith('\0') ? -1 : address.includes(':') ? 6 : 4,
  flags,
  index: 0,
});

const udp = (address: string, port = 53, flags = 0): Bound => ({ ...at(address, port, flags), isDatagram: true });

describe('a socket that was passed is meant', () => {
  const table: readonly (readonly [bound: Bound, wanted: Address, isMeant: boolean])[] = [
    [at('127.0.0.1'), at('127.0.0.1'), true],
    [at('127.0.0.1'), at('127.0.0.1', 81), false],
    [at('127.0.0.1'), at('127.0.0.1', 0), false],
    [at('127.0.0.1'), at('127.0.0.2'), false],
    [at('0.0.0.0'), at('127.0.0.1'), true],
    [at('127.0.0.1'), at('0.0.0.0'), true],
    [at('127.0.0.1'), at('::'), true],
    [at('127.0.0.1'), at('::', 80, 1), false],
    [at('::'), at('127.0.0.1'), true],
    [at('::'), at('0.0.0.0'), true],
    [at('::'), at('::', 80, 1), true],
    [at('::'), at('::1'), true],
    [at('::1'), at('::'), true],
    [at('::1'), at('::', 80, 1), true],
    [at('::1'), at('0:0:0:0:0:0:0:1'), true],
    [at('::1'), at('127.0.0.1'), false],
    [at('0.0.0.0'), at('::1'), false],
    [at('fe80::1%lo'), at('fe80::1%lo'), true],
    [at('/run/a.sock', -1), at('/run/a.sock', -1), true],
    [at('/run/a.sock', -1), at('/run/b.sock', -1), false],
    [at('\0a', -1), at('\0a', -1), true],
    [at('/run/a.sock', -1), at('127.0.0.1'), false],
    [at('127.0.0.1'), at('/run/a.sock', -1), false],
  ];
  for (const [bound, wanted, isMeant] of table) {
    const [is, by] = [bound, wanted].map(({ address, port, flags }) => JSON.stringify(`${address} ${port}${flags === 1 ? ' only' : ''}`));
    test(`${is} by ${by}: ${isMeant}`, () => assert.equal(conflicts(bound, wanted), isMeant));
  }
});

test('A datagram socket and a listener at one address have nothing to do with each other', () => {
  assert.equal(conflicts(udp('127.0.0.1', 80), at('127.0.0.1')), false);
  assert.equal(isSame(udp('127.0.0.1', 80), at('127.0.0.1')), false);
  assert.deepEqual([udp('::1'), udp('127.0.0.1'), at('127.0.0.1', 53)].map(inWords), ['udp:[::1]:53', 'udp:127.0.0.1:53', '127.0.0.1:53']);
});

test('A datagram socket that was passed serves for one of its family, with or without SO_REUSEADDR', () => {
  const reuse = 4;
  assert.equal(servesFor(udp('0.0.0.0'), udp('127.0.0.1')), true);
  assert.equal(servesFor(udp('::'), udp('::1', 53, reuse)), true);
  assert.equal(servesFor(udp('::'), udp('0.0.0.0')), false); // whose answers would go to ::ffff:… by a socket for IPv4
  assert.equal(isSame(udp('127.0.0.1'), udp('127.0.0.1', 53, reuse)), true);
  assert.equal(isSame(udp('127.0.0.1', 53, reuse), { ...udp('127.0.0.1', 53, reuse), index: 1 }), false);
  assert.equal(isSame(udp('::', 53, reuse), udp('::', 53, 1 + reuse)), false);
});

test('An address is found again by the name of its descriptor, which systemd accepts', () => {
  for (const bound of [
    at('127.0.0.1', 0),
    at('::', 8080, 1),
    at('/run/my app;ü%20.sock', -1),
    at('\0abstract', -1),
    { ...at('::1'), index: 3 },
    udp('::', 53, 5),
  ]) {
    const { boundPort: _, ...address } = bound;
    const name = storedName(address);
    assert.match(name, /^[ -9;-~]{1,255}$/); // printable ASCII, no colon
    assert.deepEqual(parseStoredName(name), address);
  }
});

test('Names of other descriptors are none of ours', () => {
  for (const name of [null, '', 'web', 'app.socket', 'graceful-super', 'graceful-super 4 80 0 0', 'graceful-super 4 80 0 0 a b'])
    assert.equal(parseStoredName(name), undefined);
});
