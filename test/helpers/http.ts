/** HTTP/1.1 by hand on a raw connection. */
import { poll, type Rig } from './rig.ts';
import { dial, dialTls, type Wire } from './wire.ts';

/** A connection to the n-th listener of a master. */
export function dialHttp(rig: Rig, index = 0): Promise<Wire> {
  const { ca } = rig;
  return ca === undefined ? dial({ port: rig.port(index), host: '127.0.0.1', noDelay: true }) : dialTls({ port: rig.port(index), ca });
}

export function get(path = '/'): string {
  return `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`;
}

/** One request with a short answer; the connection goes on. @returns the body */
export async function visit(wire: Wire, path = '/'): Promise<string> {
  wire.text = '';
  wire.write(get(path));
  return answer(wire);
}

/** The body of the answer that is to come; it must be the only one. */
export async function answer(wire: Wire): Promise<string> {
  let needed = 0; // of a long one nothing is looked at before it is there
  await wire.until(({ text }) => {
    if (text.length >= needed) needed = lengthOf(text) ?? needed;
    return needed > 0 && text.length >= needed;
  });
  const body = bodyOf(wire.text) as string;
  if (!wire.text.startsWith('HTTP/1.1 200 OK\r\n') || wire.text.match(/HTTP\/1/g)?.length !== 1) throw new Error(`unexpected: ${wire.text}`);
  return body;
}

/** Waits until the workers that are there have so many connections in all. */
export function connections(rig: Rig, wanted: number): Promise<void> {
  let last = '';
  return poll(
    async () => {
      const counts = (await rig.status()).workers.map((worker) => worker.connections);
      last = counts.join(' + ');
      return counts.reduce<number>((sum, count) => sum + (count ?? 0), 0) === wanted;
    },
    () => `there are ${last} connections instead of ${wanted}\n${rig.stderr}`,
  );
}

/** Of the whole answer; undefined: its head is not there yet. */
function lengthOf(text: string): number | undefined {
  const end = text.indexOf('\r\n\r\n');
  const length = /^content-length: (\d+)$/im.exec(text.slice(0, end))?.[1];
  return end < 0 || length === undefined ? undefined : end + 4 + Number(length);
}

function bodyOf(text: string): string | undefined {
  const [head = '', body] = text.split('\r\n\r\n');
  const length = /^content-length: (\d+)$/im.exec(head);
  if (body === undefined || length === null) return undefined;
  return body.length >= Number(length[1]) ? body : undefined;
}
