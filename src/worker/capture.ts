/**
 * How `server.listen()` of an unmodified program gets the master's listener. Until the worker is admitted its servers
 * believe that they listen, but accept nothing, so a new generation meets no client before all of it is ready.
 */
import type { Server } from 'node:net';
import { resolve } from 'node:path';
import { holdServers } from '../node/children.ts';
import { failListen, holdBack, isOpen, type ListenHandle } from '../node/handle.ts';
import { answerListens, exportServerData, importServerData, type Listening, type ServerQuery } from '../node/listen.ts';
import type { ListenQuery, ToWorker } from '../protocol/worker.ts';
import type { Servers } from './servers.ts';

type Reply = Extract<ToWorker, { type: 'listener' }>;

/** The worker's side of listener custody. */
export interface Capture {
  /** True while an answer to a listen is awaited. */
  readonly isAsking: boolean;
  /** True while the master owes an answer or the admission: nothing else may keep the process alive until then. */
  readonly isWaiting: boolean;
  /** The master's answer. */
  onReply(reply: Reply, handle: ListenHandle | undefined): void;
  /** Lets all servers accept, now and later. @returns the errno of the first that could not; 0 if all could */
  admit(): number;
}

/** A listen that waits for the master's answer. */
interface Asked {
  readonly server: Server;
  readonly query: ServerQuery;
  readonly listening: Listening;
  readonly place: Place | undefined;
}

/** A server that believes that it listens. */
interface Held {
  readonly server: Server;
  readonly handle: ListenHandle;
  readonly listen: () => number;
  readonly where: { readonly address: string | null; readonly port: number; readonly addressType: number };
}

/** Installs the hook. `ask` sends a query to the master; `servers` know which listener of the master's a server has; `holdsBack`: nothing is accepted before the admission. */
export function capture(ask: (id: number, query: ListenQuery) => void, servers: Pick<Servers, 'named' | 'listeningOn'>, holdsBack: () => boolean): Capture {
  const asked = new Map<number, Asked>();
  const held: Held[] = [];
  const places = placeKeeper();
  const isHeld = (it: unknown) =>
    [...asked.values()].some(({ server }) => server === it) || held.some(({ server, handle }) => isOpen(handle) && (server === it || handle === it));
  const releaseChildren = holdServers(isHeld);
  let isAdmitted = false;
  let lastId = 0;
  answerListens((server, query, listening) => {
    const place = query.port === 0 ? places.take(`${query.address}:${query.addressType}`) : undefined;
    if (place) server.once('close', place.leave);
    asked.set(++lastId, { server, query, listening, place });
    ask(lastId, toQuery(server, query, place?.index ?? 0));
  });
  return {
    get isAsking() {
      return asked.size > 0;
    },
    get isWaiting() {
      return asked.size > 0 || held.length > 0;
    },
    onReply(reply, handle) {
      const who = asked.get(reply.id);
      asked.delete(reply.id);
      const mayAccept = isAdmitted || (reply.isAdmitted && !holdsBack());
      if (who) held.push(...answer(who, servers, { reply, handle, mayAccept }));
      releaseChildren();
    },
    admit() {
      isAdmitted = true;
      const errnos = held.splice(0).map(({ server, handle, listen, where }) => {
        const errno = isOpen(handle) ? listen() : 0;
        if (errno < 0) failListen(server, errno, where);
        return errno;
      });
      releaseChildren();
      return errnos.find((errno) => errno !== 0) ?? 0;
    },
  };
}

/** Lets a server have its listener, or the error. @returns the server, if it only believes that it listens */
function answer(
  { server, query, listening, place }: Asked,
  servers: Pick<Servers, 'named' | 'listeningOn'>,
  { reply, handle, mayAccept }: { reply: Reply; handle: ListenHandle | undefined; mayAccept: boolean },
): Held[] {
  const { port } = query;
  // other processes may share an address, two servers of one process may not
  const errno = handle && servers.listeningOn(reply.listener) ? errnoInUse() : reply.errno;
  if (handle === undefined || errno < 0) {
    handle?.close();
    place?.leave();
    listening.fail(errno, { ...reply, address: query.address ?? reply.address, port });
    return [];
  }
  servers.named(server, reply.listener);
  importServerData(server, reply.serverData);
  const listen = holdBack(handle, reply.backlog, mayAccept);
  listening.give(handle);
  return mayAccept ? [] : [{ server, handle, listen, where: { ...reply, port } }];
}

/** Seldom needed, and a module that the program has perhaps not loaded. */
function errnoInUse(): number {
  return -process.getBuiltinModule('node:os').constants.errno.EADDRINUSE;
}

function toQuery(server: Server, query: ServerQuery, index: number): ListenQuery {
  const { address, port } = query;
  const isPath = port === -1 && address !== null && !address.startsWith('\0');
  return { ...query, address: isPath ? resolve(address) : address, index, serverData: exportServerData(server) ?? null };
}

interface Place {
  readonly index: number;
  leave(): void;
}

/** Gives each of several listens on port 0 the lowest number that no open server has: the first is 0 in every generation. */
function placeKeeper(): { take(key: string): Place } {
  const taken = new Map<string, Set<number>>();
  return {
    take(key) {
      const places = taken.get(key) ?? new Set<number>();
      taken.set(key, places);
      let index = 0;
      while (places.has(index)) index++;
      places.add(index);
      return { index, leave: () => void places.delete(index) };
    },
  };
}
