/** A client of HTTP/2 without TLS that sees every frame, and does what no library would. */
import { dial, type Wire } from './wire.ts';

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
const HEADER_BYTES = 9;
const ACK = 1;
const END_OF_HEADERS_AND_STREAM = 5;
/** GET http / in HPACK's static table, and an authority. */
const GET = Buffer.from([0x82, 0x86, 0x84, 0x41, 1, 0x78]);

export const type = { data: 0, headers: 1, settings: 4, ping: 6, goaway: 7 } as const;

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

/** One session. */
export class Http2Wire implements Disposable {
  readonly #wire: Wire;

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  send(kind: number, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): void {
    const header = Buffer.alloc(HEADER_BYTES);
    header.writeUIntBE(payload.length, 0, 3);
    header.writeUInt8(kind, 3);
    header.writeUInt8(flags, 4);
    header.writeUInt32BE(stream, 5);
    this.#wire.socket.write(Buffer.concat([header, payload]));
  }

  begin(): void {
    this.#wire.socket.write(PREFACE);
    this.send(type.settings, 0, 0);
    this.send(type.settings, ACK, 0); // to those that the server sends
  }

  get(stream: number): void {
    this.send(type.headers, END_OF_HEADERS_AND_STREAM, stream, GET);
  }

  acknowledge({ payload }: Frame): void {
    this.send(type.ping, ACK, 0, payload);
  }

  get frames(): Frame[] {
    const bytes = Buffer.from(this.#wire.text, 'latin1');
    const frames: Frame[] = [];
    for (let at = 0; at + HEADER_BYTES <= bytes.length; ) {
      const end = at + HEADER_BYTES + bytes.readUIntBE(at, 3);
      if (end > bytes.length) break;
      frames.push({
        type: bytes.readUInt8(at + 3),
        flags: bytes.readUInt8(at + 4),
        stream: bytes.readUInt32BE(at + 5),
        payload: bytes.subarray(at + HEADER_BYTES, end),
      });
      at = end;
    }
    return frames;
  }

  /** The first such frame. */
  async until(isIt: (frame: Frame) => boolean): Promise<Frame> {
    await this.#wire.until(() => this.frames.some(isIt));
    return this.frames.find(isIt) as Frame;
  }

  /** What a stream was answered, when it has ended. */
  async answer(stream: number): Promise<string> {
    await this.until((frame) => frame.stream === stream && frame.type === type.data && (frame.flags & 1) === 1);
    const parts = this.frames.filter((frame) => frame.stream === stream && frame.type === type.data);
    return Buffer.concat(parts.map(({ payload }) => payload)).toString();
  }

  end(): Promise<string> {
    return this.#wire.end();
  }

  [Symbol.dispose](): void {
    this.#wire[Symbol.dispose]();
  }
}

/** Begins a session. */
export async function dialHttp2(port: number): Promise<Http2Wire> {
  const wire = new Http2Wire(await dial({ port, host: '127.0.0.1' }));
  wire.begin();
  return wire;
}
