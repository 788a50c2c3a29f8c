/**
 * What becomes of each connection while its worker drains, looked at again and again: it moves as soon as it is quiet and
 * somebody can take it; one that can't move is closed after it has been idle for the grace.
 */
import type { Server, Socket } from 'node:net';
import { parsingServerOf } from '../node/http.ts';
import { sessionOf, socketOf } from '../node/http2.ts';
import type { DrainTimes } from '../protocol/worker.ts';
import { closeAfterResponses, closeIdle, findIdle, settlePipelines } from './closing/http.ts';
import { closeSession, isClosing } from './closing/http2.ts';
import type { Datagrams } from './datagrams.ts';
import { guarded } from './guard.ts';
import { endWatch, watchSession } from './handoff/http2/watch.ts';
import type { Candidate, Mover } from './handoff/mover.ts';
import { mayMove, type Scope } from './handoff/pile.ts';
import { isQuiet } from './handoff/plain.ts';
import { hasOptedIn } from './handoff/registry.ts';
import { connectionsOf, findSilent, isHttpServer, type WatchedServer, webSocketOf } from './servers.ts';

export const SERVICE_RESTART = 1012; // RFC 6455 registry of close codes
const SWEEP_MS = 100;
/** While there is still something to offer from the last sweep, the next one waits: it looks at every connection. */
const SWEEP_WHILE_MOVING_MS = 1_000;
/** A sweep that a response asks for waits until this many times the last sweep's own length has passed. */
const SPACING = 4;

/** Everything that may be looked at. */
export interface DrainScope extends Scope {
  readonly mover: Mover;
  readonly datagrams: Datagrams;
}

/** Begins to sweep, with the first one at once. */
export function sweep(scope: DrainScope, { idleGraceMs, drainTimeoutMs }: DrainTimes): { stop(): void } {
  const startedAt = performance.now();
  const idleSince = new Map<Socket, Since>();
  let endedAt = 0;
  let lengthMs = 0;
  const sweepOnce = guarded(() => {
    const now = performance.now();
    scope.servers.onEnd(); // what has ended in silence is noticed here
    if (scope.mover.isBusy && now - endedAt < SWEEP_WHILE_MOVING_MS) return;
    const { idle, candidates, parsing } = look(scope, (now - startedAt - drainTimeoutMs / 2) / (drainTimeoutMs / 2));
    watchResponses(parsing);
    scope.mover.consider(candidates);
    for (const candidate of findLongIdle(idle, idleSince, now, idleGraceMs)) if (scope.mover.mayClose(candidate)) closeIdle(candidate.socket);
    endedAt = performance.now();
    lengthMs = endedAt - now;
  });
  const afterResponse = () => {
    if (performance.now() - endedAt >= SPACING * lengthMs) sweepOnce();
  };
  const watchResponses = responseWatch(scope, afterResponse);
  const timer = setInterval(sweepOnce, SWEEP_MS); // also keeps the process alive until the drain's end
  sweepOnce();
  return { stop: () => clearInterval(timer) };
}

/** From now on something is done per request: the worker drains. @returns is told whose parsers read the connections, again and again */
function responseWatch({ mover }: DrainScope, afterResponse: () => void): (servers: ReadonlySet<Server>) => void {
  let hasBegun = false;
  const willMove = (socket: Socket) => {
    const server = parsingServerOf(socket);
    return server !== undefined && mover.willMove(server, socket);
  };
  const onRequest = (socket: Socket) => {
    const server = parsingServerOf(socket);
    if (server) mover.look(server, socket);
  };
  return (servers) => {
    if (!hasBegun && servers.size > 0) closeAfterResponses(willMove);
    hasBegun ||= servers.size > 0;
    for (const server of servers) settlePipelines(server, { willMove, onRequest, afterResponse });
  };
}

interface Found {
  readonly idle: ReadonlyMap<Socket, WatchedServer>;
  readonly candidates: readonly Candidate[];
  /** Whose parsers read connections. */
  readonly parsing: ReadonlySet<Server>;
}

/** `progress` is how far the second half of the drain timeout has passed. */
function look(scope: DrainScope, progress: number): Found {
  const { servers, mover } = scope;
  const idle = new Map<Socket, WatchedServer>();
  const candidates: Candidate[] = [];
  const parsing = new Set<Server>();
  const sort = (watched: WatchedServer, socket: Socket) => {
    if (mover.willMove(watched.server, socket)) candidates.push({ watched, socket });
    else idle.set(socket, watched);
  };
  for (const watched of servers.list()) {
    const { server } = watched;
    candidates.push(...moveOrClose(mover, watched, { progress, isTrusted: hasOptedIn(scope.registry, server) }));
    for (const socket of findSilent(watched)) idle.set(socket, watched);
    const connections = connectionsOf(watched, servers);
    const found = findIdle(connections);
    if (isHttpServer(server)) parsing.add(server);
    for (const server of found.servers) parsing.add(server);
    for (const socket of found.sure) sort(watched, socket);
    for (const socket of found.unsure) idle.set(socket, watched);
    const others = connections.filter((socket) => parsingServerOf(socket) === undefined && sessionOf(socket) === undefined);
    if (!isHttpServer(server)) {
      if (mayMove(scope, server)) for (const socket of others) if (isQuiet(socket)) sort(watched, socket);
      continue;
    }
    for (const socket of others) if (mover.willMove(server, socket)) candidates.push({ watched, socket });
    closeSomeWebSockets(others, progress);
  }
  return { idle, candidates, parsing };
}

/** A session moves if it can; those that could not by the second half of the drain timeout end, not all at once. @returns who may be quiet */
function moveOrClose(mover: Mover, watched: WatchedServer, { progress, isTrusted }: { readonly progress: number; readonly isTrusted: boolean }): Candidate[] {
  const candidates: Candidate[] = [];
  for (const session of watched.sessions.list()) {
    const socket = socketOf(session);
    const candidate = socket && { watched, socket };
    const isInTime = socket && progress <= shareOf(socket) / 2 && !isClosing(session);
    if (candidate && isInTime && mover.willMove(watched.server, socket) && watchSession(session, isTrusted, () => mover.seize(candidate))) {
      candidates.push(candidate);
    } else {
      endWatch(session);
      closeSession(session);
    }
  }
  return candidates;
}

interface Since {
  readonly at: number;
  /** What had come and gone by then: a connection that is found idle twice may have been used in between. */
  readonly bytes: number;
}

function findLongIdle(idle: Found['idle'], idleSince: Map<Socket, Since>, now: number, idleGraceMs: number): Candidate[] {
  for (const socket of [...idleSince.keys()]) if (!idle.has(socket)) idleSince.delete(socket);
  const found: Candidate[] = [];
  for (const [socket, watched] of idle) {
    const bytes = (socket.bytesRead ?? 0) + (socket.bytesWritten ?? 0); // other streams have neither; their answers end them
    const before = idleSince.get(socket);
    const since = before?.bytes === bytes ? before : { at: now, bytes };
    idleSince.set(socket, since);
    if (now - since.at >= idleGraceMs) found.push({ watched, socket });
  }
  return found;
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
