/**
 * The order of a graceful end: stop accepting and receiving → tell the program → let every connection end → run the program's own
 * SIGTERM listeners, or end. Nothing here waits longer than the drain timeout.
 */
import type { Socket } from 'node:net';
import { stopAccepting } from '../node/handle.ts';
import { isHttp } from '../node/http.ts';
import type { ConnectionCounts, DrainReason, DrainTimes } from '../protocol/worker.ts';
import { lingerClose } from './closing/linger.ts';
import { addCounts, countKinds, subtract } from './counts.ts';
import { guarded, tellMistake } from './guard.ts';
import { type DrainInfo, type Hooks, prepareHooks } from './hooks.ts';
import { connectionsOf, isHttpServer, kindOf, type Servers, type WatchedServer, webSocketOf } from './servers.ts';
import { type DrainScope, SERVICE_RESTART, sweep } from './sweep.ts';

const CUT_LINGER_MS = 500;

/** What the drain tells the master, or nobody. */
export interface DrainAccount {
  onWithdrew(): void;
  onDrained(closed: ConnectionCounts, cut: ConnectionCounts): void;
  onNotice(text: string): void;
}

/** The drain of this process; it begins once. */
export interface Drain {
  readonly hasBegun: boolean;
  /** Runs when the drain begins; the process does not end before its promise settles. */
  addHook(hook: (info: DrainInfo) => unknown): void;
  /** Begins, once; who has left already knows then that its master wants it to, as well. */
  begin(times: DrainTimes, reason: DrainReason): void;
  /** Begins because this process was told to go by somebody else than its master, which is to replace it. */
  leave(times: DrainTimes): void;
  /** What is still open is closed now. */
  hurry(): void;
}

/** Prepares the drain. `end` is called when nothing is left to wait for; `isTold`: the master wants it to end, and no signal of somebody else alone. */
export function prepareDrain(scope: DrainScope, account: DrainAccount, end: (times: DrainTimes, isTold: boolean) => void): Drain {
  const hooks = prepareHooks(account.onNotice);
  let hasBegun = false;
  let isTold = false;
  let hurry = () => {};
  const hurried = new Promise<'hurried'>((resolve) => {
    hurry = () => resolve('hurried');
  });
  const begin = (times: DrainTimes, reason: DrainReason) => {
    if (hasBegun) return;
    hasBegun = true;
    withdraw(scope.servers);
    scope.datagrams.withdraw();
    account.onWithdrew();
    hooks.runAll({ reason });
    const ran = run(scope, hooks, times, account, hurried).catch(tellMistake);
    void ran.then(() => end(times, isTold));
  };
  return {
    get hasBegun() {
      return hasBegun;
    },
    addHook: (hook) => hooks.add(hook),
    hurry,
    begin(times, reason) {
      isTold = true;
      begin(times, reason);
    },
    leave(times) {
      if (hasBegun) return;
      const { servers, mover } = scope;
      mover.succession.expect(servers.list().flatMap(({ server }) => servers.listenerOf(server) ?? []));
      begin(times, 'reload');
    },
  };
}

function withdraw(servers: Servers): void {
  servers.onListening = stopAccepting; // a server that starts to listen only now
  for (const { server } of servers.list()) stopAccepting(server);
}

async function run(scope: DrainScope, hooks: Hooks, times: DrainTimes, account: DrainAccount, hurried: Promise<'hurried'>): Promise<void> {
  const { servers, mover } = scope;
  const open = countByKind(servers);
  const sweeper = sweep(scope, times);
  const gone = whenGone(scope, hooks);
  const timeout = deadline(times.drainTimeoutMs);
  const reason = await Promise.race([gone, hurried, timeout.passed]);
  timeout.clear();
  const left = reason === 'gone' ? {} : addCounts(countByKind(servers), mover.inFlight);
  const before = mover.moved;
  mover.stop();
  if (reason !== 'gone') await cutAll(scope);
  sweeper.stop();
  if (hooks.areRunning) account.onNotice('an onDrain hook, or a worker of a cluster that the program has forked, had not ended at the drain timeout');
  const arrived = subtract(mover.moved, before); // meanwhile, of what was in flight
  account.onDrained(subtract(subtract(open, left), before), subtract(left, arrived));
}

async function whenGone(scope: DrainScope, hooks: Hooks): Promise<'gone'> {
  const answered = scope.datagrams.whenAnswered();
  await whenEmpty(scope);
  await answered;
  await hooks.settled();
  return 'gone';
}

/** Connections that are on their way may come back. */
function whenEmpty({ servers, mover }: DrainScope): Promise<'gone'> {
  return new Promise((resolve) => {
    const look = () => {
      if (servers.areEmpty() && Object.keys(mover.inFlight).length === 0) resolve('gone');
    };
    servers.onEnd = look;
    look();
  });
}

async function cutAll(scope: DrainScope): Promise<void> {
  const { servers, mover } = scope;
  for (const watched of servers.list()) {
    for (const session of watched.sessions.list()) guarded(() => session.destroy())();
    for (const socket of connectionsOf(watched, servers)) guarded(cutOne)(watched, socket);
  }
  const limit = deadline(2 * CUT_LINGER_MS);
  await Promise.race([whenEmpty(scope), limit.passed]);
  limit.clear();
  mover.abandon();
  for (const watched of servers.list()) {
    for (const socket of [...watched.sockets.list(), ...connectionsOf(watched, servers)]) guarded(() => void socket.destroy())();
  }
}

function cutOne({ server }: WatchedServer, socket: Socket): void {
  webSocketOf(socket)?.close(SERVICE_RESTART, 'service restart');
  if (isHttpServer(server) && isHttp(socket)) socket.destroy();
  else lingerClose(socket, CUT_LINGER_MS);
}

function countByKind(servers: Servers): ConnectionCounts {
  return countKinds(servers.list().flatMap((watched) => connectionsOf(watched, servers).map((socket) => kindOf(watched, socket))));
}

function deadline(ms: number): { readonly passed: Promise<'passed'>; clear(): void } {
  let timer: NodeJS.Timeout | undefined;
  const passed = new Promise<'passed'>((resolve) => {
    timer = setTimeout(() => resolve('passed'), ms);
  });
  return { passed, clear: () => clearTimeout(timer) };
}
