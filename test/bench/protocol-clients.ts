/** Clients of the section `protocols`, in a process of their own: each order is carried out, and answered with what went wrong. */
import { type Connection, open, type Protocol } from './connections.ts';

export type ProtocolOrder =
  /** So many connections are made, used once, and closed. */
  | { readonly type: 'handshakes'; readonly port: number; readonly protocol: Protocol; readonly count: number }
  /** So many are made, and kept. */
  | { readonly type: 'open'; readonly port: number; readonly protocol: Protocol; readonly count: number }
  /** So many requests on those that are kept. */
  | { readonly type: 'requests'; readonly count: number };

const AT_ONCE = 8;
const kept: Connection[] = [];
const mistakes: string[] = [];

async function ask(connection: Connection): Promise<void> {
  const mistake = await connection.post('/kb', true);
  if (mistake !== undefined) mistakes.push(mistake);
}

/** So many in a row do it, until it was done so often. */
async function repeat(workers: number, count: number, act: (worker: number) => Promise<void>): Promise<void> {
  let left = count;
  const work = async (_: unknown, worker: number) => {
    while (left-- > 0 && mistakes.length === 0) await act(worker);
  };
  await Promise.all(Array.from({ length: workers }, work));
}

async function obey(order: ProtocolOrder): Promise<void> {
  if (order.type === 'requests') return repeat(kept.length, order.count, (index) => ask(kept[index] as Connection));
  const make = async () => {
    const connection = open(order.port, order.protocol);
    await ask(connection);
    return connection;
  };
  if (order.type === 'handshakes') return repeat(AT_ONCE, order.count, async () => (await make()).close());
  while (kept.length < order.count) kept.push(await make());
}

process.on('message', (order: ProtocolOrder) => {
  void obey(order)
    .catch(({ message }: Error) => mistakes.push(message))
    .then(() => process.send?.(mistakes.splice(0)));
});
process.once('disconnect', () => process.exit());
