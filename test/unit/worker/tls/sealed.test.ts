import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeRecipient } from '../../../../src/worker/handoff/tls/sealed.ts';
import { readTlsState, type TlsState, writeTlsState } from '../../../../src/worker/handoff/tls/tls-state.ts';

const state: TlsState = {
  suite: 'TLS_AES_256_GCM_SHA384',
  read: { secret: Buffer.alloc(48, 1), sequence: 7, bounds: { lowest: 1, highest: 9 } },
  write: { secret: Buffer.alloc(48, 2), sequence: 2 ** 40, owesUpdate: true },
  exporter: Buffer.alloc(48, 3),
  largestFragment: 512,
  about: {
    authorized: false,
    authorizationError: 'DEPTH_ZERO_SELF_SIGNED_CERT',
    alpnProtocol: 'http/1.1',
    servername: 'localhost',
    cipher: { name: 'TLS_AES_256_GCM_SHA384', standardName: 'TLS_AES_256_GCM_SHA384', version: 'TLSv1.3' },
    isReused: false,
    chain: [Buffer.from('first'), Buffer.from('second')],
  },
};

test('The state of a connection is read as it was written', () => {
  const written = writeTlsState(state);
  assert.deepEqual(readTlsState(written), state);
  const { buffer } = written;
  assert.equal(buffer.byteLength, written.length); // in no pool: to be zeroed, and seen by nobody else
});

test('State that ends too early, or is of another format, is refused with the reason', () => {
  const written = writeTlsState(state);
  for (let length = 0; length < written.length; length++) assert.throws(() => readTlsState(written.subarray(0, length)));
  const other = Buffer.from(written);
  other.write('"format":9', written.indexOf('"format":1'));
  assert.throws(() => readTlsState(other), /format 9/);
});

test('Each recipient opens what was sealed for several, the sender among them; nobody else does', () => {
  const [sender, first, second, stranger] = [makeRecipient(), makeRecipient(), makeRecipient(), makeRecipient()];
  const secret = Buffer.from('a traffic secret, and more of it');
  for (let round = 0; round < 3; round++) {
    const sealed = sender.seal([first.publicKey, second.publicKey, sender.publicKey, first.publicKey], secret);
    for (const recipient of [first, second, sender]) assert.deepEqual(recipient.open(sealed), secret);
    assert.equal(stranger.open(sealed), undefined);
    assert.ok(!Buffer.from(sealed, 'base64').includes(secret));
  }
});

test('The same bytes are sealed differently each time', () => {
  const recipient = makeRecipient();
  assert.notEqual(recipient.seal([recipient.publicKey], Buffer.from('x')), recipient.seal([recipient.publicKey], Buffer.from('x')));
});

test('What was changed on its way, in any byte, is not opened', () => {
  const [sender, recipient] = [makeRecipient(), makeRecipient()];
  const sealed = Buffer.from(sender.seal([recipient.publicKey], Buffer.from('secret')), 'base64');
  for (let at = 0; at < sealed.length; at++) {
    const changed = Buffer.from(sealed);
    changed[at] = (changed[at] as number) ^ 1;
    let opened: Buffer | undefined;
    try {
      opened = recipient.open(changed.toString('base64'));
    } catch {
      continue; // refused
    }
    assert.equal(opened, undefined); // for others, as it seems
  }
  for (let length = 0; length < sealed.length; length++) assert.throws(() => recipient.open(sealed.subarray(0, length).toString('base64')));
});

test('Something can be sealed for at least one worker, and one with an unreadable key is passed over', () => {
  const recipient = makeRecipient();
  assert.throws(() => recipient.seal([], Buffer.from('x')), RangeError);
  assert.throws(() => recipient.seal(['nonsense'], Buffer.from('x')), RangeError);
  assert.deepEqual(recipient.open(recipient.seal(['nonsense', recipient.publicKey], Buffer.from('x'))), Buffer.from('x'));
});
