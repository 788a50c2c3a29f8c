/**
 * The order of a graceful end: stop accepting → tell the program → let every connection end → run the program's own
 * SIGTERM listeners, or end. Nothing here waits longer than the drain timeout.
 */
import type { Server, Socket } from 'node:net';
import { stopAccepting } from '../node/handle.ts';
import { isHttp } from '../node/http.ts';
import type { ConnectionCounts, DrainTimes } from '../protocol/worker.ts';
import { closeAfterResponses, closeIdle, findIdle, settlePipelines } from './closing/http.ts';
import { closeSession } from './closing/http2.ts';
import { lingerClose } from './closing/linger.ts';
import { type Hooks, prepareHooks } from './hooks.ts';
import { connectionsOf, findSilent, isHttpServer, kindOf, type Servers, type WatchedServer, webSocketOf } from './servers.ts';

const SERVICE_RESTART = 1012; // RFC 6455 registry of close codes
const SWEEP_MS = 100;
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
  addHook(hook: () => unknown): void;
  /** Begins, once. */
  begin(times: DrainTimes): void;
  /** What is still open is closed now. */
  hurry(): void;
}

/** Prepares the drain. `end` is called when nothing is left to wait for. */
export function prepareDrain(servers: Servers, account: DrainAccount, end: (times: DrainTimes) => void): Drain {
  const hooks = prepareHooks(account.onNotice);
  let hasBegun = false;
  let hurry = () => {};
  const hurried = new Promise<'hurried'>((resolve) => {
    hurry = () => resolve('hurried');
  });
  return {
    get hasBegun() {
      return hasBegun;
    },
    addHook: (hook) => hooks.add(hook),
    hurry,
    begin(times) {
      if (hasBegun) return;
      hasBegun = true;
      withdraw(servers);
      account.onWithdrew();
      void run(servers, hooks, times, account, hurried).then(() => end(times));
    },
  };
}

function withdraw(servers: Servers): void {
  servers.onListening = stopAccepting; // a server that starts to listen only now
  for (const server of servers.all.keys()) stopAccepting(server);
}

async function run(servers: Servers, hooks: Hooks, times: DrainTimes, account: DrainAccount, hurried: Promise<'hurried'>): Promise<void> {
  const open = countByKind(servers);
  hooks.runAll();
  const sweeper = sweep(servers, times);
  const gone = whenGone(servers, hooks);
  const timeout = deadline(times.drainTimeoutMs);
  const reason = await Promise.race([gone, hurried, timeout.passed]);
  timeout.clear();
  const cut = reason === 'gone' ? {} : countByKind(servers);
  if (reason !== 'gone') await cutAll(servers);
  sweeper.stop();
  if (hooks.areRunning) account.onNotice('an onDrain hook had not ended at the drain timeout');
  account.onDrained(subtract(open, cut), cut);
}

/** Closes what has been idle for the grace, again and again; WebSockets in even steps, so that not all return at once. */
function sweep(servers: Servers, { idleGraceMs, drainTimeoutMs }: DrainTimes): { stop(): void } {
  const startedAt = performance.now();
  const idleSince = new Map<Socket, number>();
  const hasHttp = [...servers.all.keys()].filter(isHttpServer);
  if (hasHttp.length > 0) closeAfterResponses();
  for (const server of hasHttp) settlePipelines(server as Server);
  const sweepOnce = () => {
    const now = performance.now();
    const idle = new Set<Socket>();
    for (const watched of servers.all.values()) {
      for (const session of watched.sessions) closeSession(session);
      for (const socket of findSilent(watched)) idle.add(socket);
      if (!isHttpServer(watched.server)) continue;
      const connections = connectionsOf(watched);
      for (const socket of findIdle(watched, connections)) idle.add(socket);
      closeSomeWebSockets(connections, (now - startedAt - drainTimeoutMs / 2) / (drainTimeoutMs / 2));
    }
    closeLongIdle(idle, idleSince, now, idleGraceMs);
  };
  const timer = setInterval(sweepOnce, SWEEP_MS); // also keeps the process alive until the drain's end
  sweepOnce();
  return { stop: () => clearInterval(timer) };
}

function closeLongIdle(idle: ReadonlySet<Socket>, idleSince: Map<Socket, number>, now: number, idleGraceMs: number): void {
  for (const socket of [...idleSince.keys()]) if (!idle.has(socket)) idleSince.delete(socket);
  for (const socket of idle) {
    const since = idleSince.get(socket) ?? now;
    idleSince.set(socket, since);
    if (now - since >= idleGraceMs) closeIdle(socket);
  }
}

/** `progress` runs from 0 at half the drain timeout to 1 at its end: that share of the connections is closed by then. */
function closeSomeWebSockets(connections: readonly Socket[], progress: number): void {
  if (progress <= 0) return;
  for (const socket of connections) {
    if (shareOf(socket) < progress) webSocketOf(socket)?.close(SERVICE_RESTART, 'service restart');
  }
}

/** A number in [0, 1) that a connection keeps. */
function shareOf(socket: Socket): number {
  return ((socket.remotePort ?? 0) * 0.618_033_988_749) % 1;
}

async function whenGone(servers: Servers, hooks: Hooks): Promise<'gone'> {
  await whenEmpty(servers);
  await hooks.settled();
  return 'gone';
}

function whenEmpty(servers: Servers): Promise<'gone'> {
  return new Promise((resolve) => {
    const look = () => {
      if (servers.count() === 0) resolve('gone');
    };
    servers.onClose = look;
    look();
  });
}

async function cutAll(servers: Servers): Promise<void> {
  for (const watched of servers.all.values()) {
    for (const session of watched.sessions) session.destroy();
    for (const socket of connectionsOf(watched)) cutOne(watched, socket);
  }
  const limit = deadline(2 * CUT_LINGER_MS);
  await Promise.race([whenEmpty(servers), limit.passed]);
  limit.clear();
  for (const { sockets } of servers.all.values()) for (const socket of sockets) socket.destroy();
}

function cutOne({ server }: WatchedServer, socket: Socket): void {
  webSocketOf(socket)?.close(SERVICE_RESTART, 'service restart');
  if (isHttpServer(server) && isHttp(socket)) socket.destroy();
  else lingerClose(socket, CUT_LINGER_MS);
}

function countByKind(servers: Servers): ConnectionCounts {
  const counts: Record<string, number> = {};
  for (const watched of servers.all.values()) {
    for (const socket of connectionsOf(watched)) {
      const kind = kindOf(watched, socket);
      counts[kind] = (counts[kind] ?? 0) + 1;
    }
  }
  return counts;
}

function subtract(counts: ConnectionCounts, less: ConnectionCounts): ConnectionCounts {
  const rest = Object.entries(counts).map(([kind, count]): [string, number] => [kind, Math.max(0, count - (less[kind] ?? 0))]);
  return Object.fromEntries(rest.filter(([, count]) => count > 0));
}

function deadline(ms: number): { readonly passed: Promise<'passed'>; clear(): void } {
  let timer: NodeJS.Timeout | undefined;
  const passed = new Promise<'passed'>((resolve) => {
    timer = setTimeout(() => resolve('passed'), ms);
  });
  return { passed, clear: () => clearTimeout(timer) };
}
