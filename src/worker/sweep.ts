/**
 * What becomes of each connection while its worker drains, looked at again and again: it moves as soon as it is quiet and
 * somebody can take it; one that can't move is closed after it has been idle for the grace.
 */
import type { Server, Socket } from 'node:net';
import { isHttp } from '../node/http.ts';
import type { DrainTimes } from '../protocol/worker.ts';
import { closeAfterResponses, closeIdle, findIdle, settlePipelines } from './closing/http.ts';
import { closeSession } from './closing/http2.ts';
import { type Candidate, isQuiet, type Mover } from './handoff/mover.ts';
import { mayMove, type Registry } from './handoff/registry.ts';
import { connectionsOf, findSilent, isHttpServer, isPrivate, type Servers, type WatchedServer, webSocketOf } from './servers.ts';

export const SERVICE_RESTART = 1012; // RFC 6455 registry of close codes
const SWEEP_MS = 100;
/** While there is still something to offer from the last sweep, the next one waits: it looks at every connection. */
const SWEEP_WHILE_MOVING_MS = 1_000;
/** A sweep that a response asks for waits until this many times the last sweep's own length has passed. */
const SPACING = 4;

/** Everything that may be looked at. */
export interface DrainScope {
  readonly servers: Servers;
  readonly registry: Registry;
  readonly mover: Mover;
}

/** Begins to sweep, with the first one at once. */
export function sweep(scope: DrainScope, { idleGraceMs, drainTimeoutMs }: DrainTimes): { stop(): void } {
  const startedAt = performance.now();
  const idleSince = new Map<Socket, Since>();
  let endedAt = 0;
  let lengthMs = 0;
  const sweepOnce = () => {
    const now = performance.now();
    if (scope.mover.isBusy && now - endedAt < SWEEP_WHILE_MOVING_MS) return;
    const { idle, candidates } = look(scope, (now - startedAt - drainTimeoutMs / 2) / (drainTimeoutMs / 2));
    scope.mover.consider(candidates);
    for (const candidate of findLongIdle(idle, idleSince, now, idleGraceMs)) if (scope.mover.mayClose(candidate)) closeIdle(candidate.socket);
    endedAt = performance.now();
    lengthMs = endedAt - now;
  };
  const afterResponse = () => {
    if (performance.now() - endedAt >= SPACING * lengthMs) sweepOnce();
  };
  watchResponses(scope, afterResponse);
  const timer = setInterval(sweepOnce, SWEEP_MS); // also keeps the process alive until the drain's end
  sweepOnce();
  return { stop: () => clearInterval(timer) };
}

/** From now on something is done per request: the worker drains. */
function watchResponses({ servers, mover }: DrainScope, afterResponse: () => void): void {
  const hasHttp = [...servers.all.keys()].filter(isHttpServer);
  const willMove = (socket: Socket) => mover.willMove((socket as Socket & { server: Server }).server, socket);
  if (hasHttp.length > 0) closeAfterResponses(willMove);
  for (const server of hasHttp) settlePipelines(server, willMove, afterResponse);
}

interface Found {
  readonly idle: ReadonlyMap<Socket, WatchedServer>;
  readonly candidates: readonly Candidate[];
}

/** `progress` is how far the second half of the drain timeout has passed. */
function look({ servers, registry, mover }: DrainScope, progress: number): Found {
  const idle = new Map<Socket, WatchedServer>();
  const candidates: Candidate[] = [];
  const sort = (watched: WatchedServer, socket: Socket) => {
    if (mover.willMove(watched.server, socket)) candidates.push({ watched, socket });
    else idle.set(socket, watched);
  };
  for (const watched of servers.all.values()) {
    const { server } = watched;
    for (const session of watched.sessions) closeSession(session);
    for (const socket of findSilent(watched)) idle.set(socket, watched);
    const connections = connectionsOf(watched);
    if (!isHttpServer(server)) {
      if (mayMove(registry, server)) for (const socket of connections) if (isQuiet(socket)) sort(watched, socket);
      continue;
    }
    for (const socket of findIdle(watched, connections)) if (!isPrivate(servers, socket)) sort(watched, socket);
    for (const socket of connections) if (!isHttp(socket) && mover.willMove(server, socket)) candidates.push({ watched, socket });
    closeSomeWebSockets(connections, progress);
  }
  return { idle, candidates };
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
    const bytes = socket.bytesRead + socket.bytesWritten;
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
