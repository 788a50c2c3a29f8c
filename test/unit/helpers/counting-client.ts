/**
 * A TLS 1.3 client that counts records: the handshake is OpenSSL's, over a stream that sees each record, and from then on it speaks itself. So it knows the true
 * numbers, renews keys whenever it is told to, and sends what no decent client would.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import tls from 'node:tls';
import { type Suite, suiteOf } from '../../../src/worker/handoff/tls/keys.ts';
import { ALERT, APPLICATION_DATA, HANDSHAKE, type OpenedRecord, RecordReader, RecordWriter } from '../../../src/worker/handoff/tls/record.ts';

export interface CountingClient extends AsyncDisposable {
  readonly wire: Socket;
  readonly writer: RecordWriter;
  /** Its number is the true one: every record on the wire was opened with the next. */
  readonly reader: RecordReader;
  /** Plaintext that has come. */
  readonly received: number;
  /** Descriptions of alerts that have come. */
  readonly alerts: readonly number[];
  /** KeyUpdates of the server. */
  readonly updates: number;
  /** A record that could not be opened. */
  readonly error: Error | undefined;
  readonly hasEnded: boolean;
  send(bytes: Buffer): void;
  /** Any record, under the right key and number. */
  sendRecord(type: number, content: Buffer): void;
  /** As it is. */
  sendRaw(bytes: Buffer): void;
  updateKey(isRequested: boolean): void;
  until(isSo: () => boolean): Promise<void>;
}

/** Connects, and speaks for itself as soon as the handshake is done. */
export async function connectCounting(port: number, ciphers: string): Promise<CountingClient> {
  const wire = connect({ port, host: '127.0.0.1', noDelay: true });
  wire.on('error', () => {});
  const gate = makeGate(wire);
  const secrets = new Map<string, Buffer>();
  const native = tls.connect({ socket: gate.stream, rejectUnauthorized: false, ciphers, ...({ enableTrace: false } as object) });
  native
    .on('error', () => {})
    .on('keylog', (line: Buffer) => {
      const [label, , secret] = String(line).trim().split(' ');
      secrets.set(label as string, Buffer.from(secret as string, 'hex'));
    });
  await once(native, 'secureConnect');
  const suite = suiteOf(native.getCipher().standardName) as Suite;
  const reader = new RecordReader(suite, { secret: secrets.get('SERVER_TRAFFIC_SECRET_0') as Buffer, sequence: gate.records });
  const writer = new RecordWriter(suite, { secret: secrets.get('CLIENT_TRAFFIC_SECRET_0') as Buffer, sequence: 0 });
  return goOn(wire, gate, reader, writer);
}

interface Gate {
  readonly stream: Duplex;
  /** Records that came under application keys: all since the client has sent its Finished. */
  readonly records: number;
  take(onBytes: (bytes: Buffer) => void, onEnd: () => void): void;
}

/** Lets whole records pass to OpenSSL until it is taken. */
function makeGate(wire: Socket): Gate {
  let rest = Buffer.alloc(0) as Buffer;
  let [records, hasFinished] = [0, false];
  let taker: { onBytes(bytes: Buffer): void; onEnd(): void } | undefined;
  const stream = new Duplex({
    read() {},
    write(bytes: Buffer, _encoding, done) {
      for (let at = 0; at + 5 <= bytes.length; at += 5 + bytes.readUInt16BE(at + 3)) hasFinished ||= bytes[at] === APPLICATION_DATA;
      if (taker) done();
      else wire.write(bytes, done);
    },
  });
  wire.on('data', (bytes) => {
    if (taker) return taker.onBytes(bytes);
    rest = Buffer.concat([rest, bytes]);
    while (rest.length >= 5 && rest.length >= 5 + rest.readUInt16BE(3)) {
      const end = 5 + rest.readUInt16BE(3);
      if (hasFinished) records++;
      stream.push(rest.subarray(0, end));
      rest = rest.subarray(end);
    }
  });
  wire.on('end', () => taker?.onEnd());
  return {
    stream,
    get records() {
      return records;
    },
    take(onBytes, onEnd) {
      taker = { onBytes, onEnd };
      onBytes(rest);
    },
  };
}

function goOn(wire: Socket, gate: Gate, reader: RecordReader, writer: RecordWriter): CountingClient {
  const state = { received: 0, alerts: [] as number[], updates: 0, error: undefined as Error | undefined, hasEnded: false };
  let wake = () => {};
  const hear = ({ type, content }: OpenedRecord) => {
    if (type === APPLICATION_DATA) state.received += content.length;
    if (type === ALERT) state.alerts.push(content[1] as number);
    if (type !== HANDSHAKE || content[0] !== 24) return; // tickets need nothing
    state.updates++;
    reader.advance();
  };
  const onBytes = (bytes: Buffer) => {
    try {
      reader.feed(bytes);
      for (let record = reader.next(); record !== undefined; record = reader.next()) hear(record);
    } catch (error) {
      state.error ??= error as Error;
    }
    wake();
  };
  gate.take(onBytes, () => {
    state.hasEnded = true;
    wake();
  });
  const sendRecord = (type: number, content: Buffer) => void wire.write(writer.sealRecord(type, content));
  return Object.assign(Object.create(state) as typeof state, {
    wire,
    writer,
    reader,
    send: (bytes: Buffer) => {
      for (const record of writer.sealData(bytes)) wire.write(record);
    },
    sendRecord,
    sendRaw: (bytes: Buffer) => void wire.write(bytes),
    updateKey(isRequested: boolean) {
      sendRecord(HANDSHAKE, Buffer.of(24, 0, 0, 1, isRequested ? 1 : 0));
      writer.advance();
    },
    async until(isSo: () => boolean) {
      while (!isSo()) {
        if (state.error) throw state.error;
        await new Promise<void>((resolve) => {
          wake = resolve;
          setTimeout(resolve, 2); // what is waited for may happen at the server
        });
      }
    },
    async [Symbol.asyncDispose]() {
      wire.destroy();
      if (!wire.closed) await once(wire, 'close');
    },
  });
}
