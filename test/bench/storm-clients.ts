/**
 * The clients of the reload storm, in a process of their own: some keep their connections, some open one for each request;
 * all of them POST. No retries: a request that was sent and not answered is a failed one. A kept connection
 * that is closed while nothing is asked on it costs a new one, and is counted.
 */
import { type Connection, open, type Protocol } from './connections.ts';
import { monotonicMs } from './measure.ts';

export interface StormOrder {
  readonly port: number;
  readonly protocol: Protocol;
  readonly kept: number;
  readonly fresh: number;
}

export interface StormAccount {
  readonly answered: number;
  readonly failed: number;
  /** What failed, how often. */
  readonly reasons: Readonly<Record<string, number>>;
  /** Connections that those who keep theirs have opened. */
  readonly opened: number;
  /** Sent and answered, by `monotonicMs`. */
  readonly times: readonly (readonly [number, number])[];
}

const THINK_MS = 40;

let isStopping = false;
let opened = 0;
const reasons: Record<string, number> = {};
const times: [number, number][] = [];

async function runClient({ port, protocol }: StormOrder, keepsAlive: boolean): Promise<void> {
  let connection: Connection | undefined;
  while (!isStopping) {
    const sentAt = monotonicMs();
    if (connection === undefined || connection.hasEnded) {
      connection?.close();
      connection = open(port, protocol);
      if (keepsAlive) opened++;
    }
    const reason = await connection.post('/', keepsAlive);
    if (reason === undefined) times.push([sentAt, monotonicMs()]);
    else reasons[reason] = (reasons[reason] ?? 0) + 1;
    if (!keepsAlive || reason !== undefined) connection.close();
    await new Promise((resolve) => setTimeout(resolve, Math.random() * THINK_MS));
  }
  connection?.close();
}

let clients: Promise<void>[] = [];
process.on('message', async (order: StormOrder | 'stop') => {
  if (order !== 'stop') {
    clients = [true, false].flatMap((keepsAlive) => Array.from({ length: keepsAlive ? order.kept : order.fresh }, () => runClient(order, keepsAlive)));
    return;
  }
  isStopping = true;
  await Promise.all(clients);
  const failed = Object.values(reasons).reduce((sum, count) => sum + count, 0);
  process.send?.({ answered: times.length, failed, reasons, opened, times } satisfies StormAccount, () => process.exit());
});
process.once('disconnect', () => process.exit());
