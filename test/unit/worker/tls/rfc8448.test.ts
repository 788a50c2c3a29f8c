/** The key schedule and the record layer of TLS 1.3, against the trace of RFC 8448 §3 (a simple handshake, AES-128-GCM). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Suite, suiteOf, trafficKeys } from '../../../../src/worker/handoff/tls/keys.ts';
import { ALERT, APPLICATION_DATA, RecordReader, RecordWriter } from '../../../../src/worker/handoff/tls/record.ts';

const hex = (text: string) => Buffer.from(text.replaceAll(/\s/g, ''), 'hex');
const suite = suiteOf('TLS_AES_128_GCM_SHA256') as Suite;
const clientSecret = () => hex('9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5');
const serverSecret = () => hex('a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643');
const data = Buffer.from(Array.from({ length: 50 }, (_, index) => index));
const clientRecord = hex(`17 03 03 00 43 a2 3f 70 54 b6 2c 94 d0 af fa fe 82 28 ba 55 cb ef ac ea 42 f9 14 aa 66 bc ab 3f 2b 98 19 a8 a5 b4 6b 39
  5b d5 4a 9a 20 44 1e 2b 62 97 4e 1f 5a 62 92 a2 97 70 14 bd 1e 3d ea e6 3a ee bb 21 69 49 15 e4`);
const serverRecord = hex(`17 03 03 00 43 2e 93 7e 11 ef 4a c7 40 e5 38 ad 36 00 5f c4 a4 69 32 fc 32 25 d0 5f 82 aa 1b 36 e3 0e fa f9 7d 90 e6 df fc
  60 2d cb 50 1a 59 a8 fc c4 9c 4b f2 e5 f0 a2 1c 00 47 c2 ab f3 32 54 0d d0 32 e1 67 c2 95 5d`);
const clientClose = hex('17 03 03 00 13 c9 87 27 60 65 56 66 b7 4d 7f f1 15 3e fd 6d b6 d0 b0 e3');
const serverClose = hex('17 03 03 00 13 b5 8f d6 71 66 eb f5 99 d2 47 20 cf be 7e fa 7a 88 64 a9');

test('Traffic secrets become the keys of the trace', () => {
  const client = trafficKeys(suite, clientSecret());
  assert.equal(client.key.export().toString('hex'), '17422dda596ed5d9acd890e3c63f5051');
  assert.equal(client.iv.toString('hex'), '5b78923dee08579033e523d9');
  const server = trafficKeys(suite, serverSecret());
  assert.equal(server.key.export().toString('hex'), '9f02283b6c9c07efc26bb9f2ac92e356');
  assert.equal(server.iv.toString('hex'), 'cf782b88dd83549aadf1e984');
});

test('What the server says is sealed to the bytes of the trace', () => {
  const writer = new RecordWriter(suite, { secret: serverSecret(), sequence: 1 }); // behind its ticket
  assert.deepEqual(Buffer.concat(writer.sealData(data)), serverRecord);
  assert.deepEqual(writer.sealRecord(ALERT, Buffer.of(1, 0)), serverClose);
});

test('What the client says in the trace is opened, in whatever pieces it comes', () => {
  const wire = Buffer.concat([clientRecord, clientClose]);
  for (let cut = 0; cut <= wire.length; cut++) {
    const reader = new RecordReader(suite, { secret: clientSecret(), sequence: 0 });
    const records = [wire.subarray(0, cut), wire.subarray(cut)].flatMap((piece) => {
      reader.feed(piece);
      return [reader.next(), reader.next()].filter((record) => record !== undefined);
    });
    assert.deepEqual(records, [
      { type: APPLICATION_DATA, content: data },
      { type: ALERT, content: Buffer.of(1, 0) },
    ]);
    assert.equal(reader.pending, 0);
  }
});
