/** What it costs that connections of a protocol can move, and what one costs that has moved: CPU of the process that serves. */
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { AT_ONCE, BARE, competitors, OURS } from '../competitors.ts';
import type { Protocol } from '../connections.ts';
import { isAlive, until } from '../ground.ts';
import { quantile } from '../measure.ts';
import { cpuOf } from '../probe.ts';
import type { ProtocolOrder } from '../protocol-clients.ts';
import type { Goal, Results } from '../results.ts';
import type { Running } from '../running.ts';
import { type Bench, type Section, withRunning } from '../section.ts';

const CLIENTS = fileURLToPath(new URL('../protocol-clients.ts', import.meta.url));
const KEPT = 16;
/** Both are asked in turns, so that what else the machine does falls on both. */
const TURNS = 5;
const spoken: readonly Protocol[] = ['https', 'wss', 'h2', 'h2c'];

export const protocols: Section = {
  name: 'protocols',
  title: 'What protocols cost',
  about: `CPU of the one process that serves: for a connection with its first request (no TLS session is resumed; P-256 certificate), for a request with an answer of 1 KB on one of ${KEPT} connections (with wss, a message), and for the same once these have moved by a reload. graceful-super with --handoff-tls where TLS is spoken, and bare Node, which moves nothing and is measured beside it each time; they are asked in turns, ${TURNS} times a round.`,
  metrics: {
    connection: { unit: 'µs', digits: 0, isCompared: true, isDrawn: true },
    request: { unit: 'µs', digits: 1, isCompared: true, isDrawn: true },
    moved: { unit: 'µs', digits: 1, isCompared: true, isDrawn: true },
  },
  goals: spoken.flatMap((protocol): Goal[] => [
    { text: `${protocol}: a connection that can move, of bare Node's`, most: 1.15, value: ({ ratio }) => ratio(protocol, 'connection') },
    { text: `${protocol}: a request on a connection that never moved`, most: 1.05, value: ({ ratio }) => ratio(protocol, 'request') },
    { text: `${protocol}: a request on one that has moved`, most: 2, value: ({ ratio }) => ratio(protocol, 'moved') },
  ]),
  async run(bench, results) {
    for (const protocol of spoken.filter((one) => bench.speaks(one))) {
      for (let round = 0; round < bench.rounds; round++) {
        bench.say(`protocols: ${protocol}`);
        await withBoth(bench, protocol, (bare, ours) => measure(bench, results, [bare, ours]));
      }
    }
  },
};

/** A server, and clients that are its own. */
interface Side {
  readonly name: string;
  readonly protocol: Protocol;
  readonly running: Running;
  /** Carries out an order. @throws if something went wrong: no connection may be lost here */
  order(order: ProtocolOrder): Promise<void>;
}

async function withBoth(bench: Bench, protocol: Protocol, act: (bare: Side, ours: Side) => Promise<void>): Promise<void> {
  const [bare, ours] = [BARE, OURS].map((name) => competitors.find((one) => one.name === name));
  if (bare === undefined || ours === undefined) throw new Error('bare Node and graceful-super take part');
  const setting = { workers: 1, protocol, flags: AT_ONCE };
  await withRunning(bench, bare, setting, (first) =>
    withRunning(bench, ours, setting, (second) => act(makeSide(bench, BARE, protocol, first), makeSide(bench, OURS, protocol, second))),
  );
}

function makeSide({ ground }: Bench, name: string, protocol: Protocol, running: Running): Side {
  const child = ground.spawn(process.execPath, ['--import', 'tsx', CLIENTS], { ipc: true, cwd: process.cwd() });
  return {
    name,
    protocol,
    running,
    async order(order) {
      const answer = once(child, 'message') as Promise<[string[]]>;
      child.send(order);
      const [mistakes] = await answer;
      if (mistakes.length > 0) throw new Error(`${protocol}, ${name}, ${order.type}: ${mistakes.length} went wrong: ${mistakes[0]}`);
    },
  };
}

async function measure(bench: Bench, results: Results, sides: readonly [Side, Side]): Promise<void> {
  const [connections, requests] = bench.isQuick ? [20, 200] : [400, 6_000];
  const connect = ({ protocol, running: { port } }: Side) => ({ type: 'handshakes', port, protocol, count: connections }) as const;
  const ask = () => ({ type: 'requests', count: requests }) as const;
  const connection = await inTurns(sides, connections, connect);
  for (const { order, protocol, running } of sides) await order({ type: 'open', port: running.port, protocol, count: KEPT });
  const request = await inTurns(sides, requests, ask);
  const [, { running }] = sides;
  const old = running.workers();
  await running.reload();
  await until(() => !old.some(isAlive), 'the old worker to end');
  const moved = await inTurns(sides, requests, ask);
  sides.forEach(({ name, protocol }, index) => {
    const of = (numbers: readonly number[]) => numbers[index] ?? Number.NaN;
    results.add(protocol, name, { connection: of(connection), request: of(request), moved: of(moved) });
  });
}

/** Microseconds of CPU each, a number a side; what the first turn compiles is not counted. */
async function inTurns(sides: readonly Side[], count: number, what: (side: Side) => ProtocolOrder): Promise<number[]> {
  const spent = sides.map((): number[] => []);
  for (let turn = 0; turn <= TURNS; turn++) {
    for (const [index, side] of sides.entries()) {
      const [pid] = side.running.workers() as [number];
      const before = cpuOf(pid);
      await side.order(what(side));
      if (turn > 0) spent[index]?.push(((cpuOf(pid) - before) * 1000) / count);
    }
  }
  return spent.map((numbers) => quantile(numbers, 0.5));
}
