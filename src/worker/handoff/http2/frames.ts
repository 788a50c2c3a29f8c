/** The frames of HTTP/2 that a session is taught by: RFC 9113 §4.1, §6; RFC 7541 for what stands in HEADERS. */
import type { Settings } from 'node:http2';

const HEADER_BYTES = 9;
const SETTING_BYTES = 6;
const LARGEST = 0xff_ff_ff_ff;
const ACKNOWLEDGES = 0x1;
const ENDS_HEADERS_AND_STREAM = 0x5;
const type = { headers: 1, settings: 4, windowUpdate: 8 } as const;

/** RFC 9113 §6.5.2, RFC 8441 §3: those that Node knows by name. */
const IDS: Readonly<Partial<Record<keyof Settings, number>>> = {
  headerTableSize: 1,
  enablePush: 2,
  maxConcurrentStreams: 3,
  initialWindowSize: 4,
  maxFrameSize: 5,
  maxHeaderListSize: 6,
  enableConnectProtocol: 8,
};

/** What a client begins with: RFC 9113 §3.4. */
export const preface: Buffer = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

/** A PING or its acknowledgement, in bytes. */
export const PING_BYTES = 17;

/** SETTINGS; what is not known by name is left out. */
export function settingsFrame(settings: Settings): Buffer {
  const known = (Object.entries(IDS) as [keyof Settings, number][]).filter(([name]) => settings[name] !== undefined);
  const payload = Buffer.alloc(SETTING_BYTES * known.length);
  for (const [index, [name, id]] of known.entries()) {
    payload.writeUInt16BE(id, SETTING_BYTES * index);
    payload.writeUInt32BE(Math.min(Number(settings[name]), LARGEST), SETTING_BYTES * index + 2);
  }
  return frame(type.settings, 0, 0, payload);
}

/** The acknowledgement of SETTINGS. */
export const settingsAcknowledged: Buffer = frame(type.settings, ACKNOWLEDGES, 0, Buffer.alloc(0));

/** WINDOW_UPDATE; stream 0 is the connection. */
export function windowUpdate(stream: number, bytes: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(bytes);
  return frame(type.windowUpdate, 0, stream, payload);
}

/**
 * A request without a body: GET http://x/, and nothing put into the dynamic table. Before it the size of that is set, to 0 and then to what it is to be: the smallest
 * that was told in between has to be among what is said (RFC 7541 §4.2).
 */
export function request(stream: number, tableSize: number): Buffer {
  return frame(type.headers, ENDS_HEADERS_AND_STREAM, stream, Buffer.from([...tableUpdate(0), ...tableUpdate(tableSize), 0x82, 0x86, 0x84, 0x01, 1, 0x78]));
}

/** RFC 7541 §6.3, with the number of §5.1 in a prefix of 5 bits. */
function tableUpdate(size: number): number[] {
  if (size < 31) return [0x20 | size];
  const bytes = [0x3f];
  let rest = size - 31;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push(0x80 | (rest % 0x80));
  return [...bytes, rest];
}

function frame(kind: number, flags: number, stream: number, payload: Buffer): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES + payload.length);
  bytes.writeUIntBE(payload.length, 0, 3);
  bytes.writeUInt8(kind, 3);
  bytes.writeUInt8(flags, 4);
  bytes.writeUInt32BE(stream, 5);
  payload.copy(bytes, HEADER_BYTES);
  return bytes;
}
