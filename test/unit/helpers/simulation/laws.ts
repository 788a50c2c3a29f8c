/** What must hold of a simulated world, whatever went wrong in it. Each law tells its breaches. */
import type { Connection } from './connection.ts';
import { PORT, type World } from './world.ts';

/** A worker whose master says nothing closes by itself what is open after so long. */
const DRAIN_TIMEOUT_MS = 20_000;

/** Requests so far: the start, and each reload that was asked for. */
export function breachesAtRest(world: World, requests: number): string[] {
  const { processes, listeners, openTickets, timers, connections } = world;
  const alive = processes.filter(({ isAlive }) => isAlive);
  const generation = Math.max(...world.linesOf('reload-committed').map((line) => Number(line['generation'])));
  const open = listeners.filter(({ isClosed }) => !isClosed).map(({ port }) => port);
  return [
    ...world.complaints,
    ...breaches(alive.length === 2, `${alive.length} processes are there`),
    ...alive.flatMap(({ pid, program }) =>
      breaches(program.isAccepting && program.generation === generation, `${pid} does not serve generation ${generation}`),
    ),
    ...breaches(openTickets <= 2, `${openTickets} ticket files are open`),
    ...breaches(timers.size === 0, `${timers.size} timers are set`),
    ...breaches(open.length === 3 && open.includes(PORT), `open listeners: ${open}`),
    ...breaches(listeners.filter(({ port }) => port === PORT).length === 1, `port ${PORT} was bound again`),
    ...answers(world, requests),
    ...accounts(world),
    ...connections.flatMap((connection) => ownership(world, connection)),
  ];
}

export function breachesAtTheEnd(world: World, requests: number): string[] {
  const { processes, listeners, openTickets, timers, connections } = world;
  return [
    ...world.complaints,
    ...processes.filter(({ isAlive }) => isAlive).map(({ pid }) => `${pid} has survived its master`),
    ...breaches(openTickets === 0, `${openTickets} ticket files are open`),
    ...breaches(timers.size === 0, `${timers.size} timers are set`),
    ...listeners.filter(({ isClosed }) => !isClosed).map(({ port }) => `listener ${port} is open`),
    ...connections.flatMap(({ id, copies }) => [...copies].map(({ holder }) => `${holder} has a copy of connection ${id}`)),
    ...answers(world, requests),
  ];
}

/** Exactly one outcome each. */
function answers(world: World, requests: number): string[] {
  const answered = world.linesOf('reload-finished').flatMap((line) => line['requests'] as number[]);
  const expected = Array.from({ length: requests }, (_, index) => index + 1);
  return breaches(`${answered}` === `${expected}`, `outcomes: ${answered}`);
}

/** What is told of the connections of a generation is so. */
function accounts(world: World): string[] {
  return world.linesOf('generation-gone').flatMap((line) => {
    const own = world.processes.filter(({ program }) => program.generation === line['generation']);
    const moved = own.reduce((sum, { handedOver }) => sum + handedOver, 0);
    const told = (line['moved'] as Record<string, number>)['http'] ?? 0;
    return breaches(told === moved, `${told} connections are said to have moved from generation ${line['generation']}, ${moved} have`);
  });
}

/**
 * One living worker has it, and nobody else a copy. It may end with a worker that came to harm, or where its master did not answer in time; and, as it
 * should, where of two faults the one keeps it from leaving and the other from staying.
 */
function ownership(world: World, { id, fate, owner, lastOwner, copies }: Connection): string[] {
  const isTwice = world.calls.struck > 1;
  const wasLate = world.masterStoppedMs >= DRAIN_TIMEOUT_MS;
  const mayEnd = lastOwner?.isFaulty || (fate === 'lost' ? wasLate && isTwice : wasLate || isTwice);
  if (fate !== 'open') return breaches(mayEnd === true, `connection ${id} was ${fate} by ${lastOwner?.pid}`);
  const holders = [...copies].map(({ holder }) => holder);
  return breaches(owner?.isAlive === true && holders.length === 1, `connection ${id} is owned by ${owner?.pid ?? 'nobody'}, copies: ${holders}`);
}

function breaches(isLawful: boolean, breach: string): string[] {
  return isLawful ? [] : [breach];
}
