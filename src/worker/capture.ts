/**
 * How `server.listen()` of an unmodified program gets the master's listener. Until the worker is admitted its servers
 * believe that they listen, but accept nothing, so a new generation meets no client before all of it is ready.
 */
import type { Server } from 'node:net';
import { resolve } from 'node:path';
import { failListen, holdBack, isOpen, type ListenHandle } from '../node/handle.ts';
import { answerListens, exportServerData, importServerData, type ServerQuery } from '../node/listen.ts';
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

interface Pending {
  onReply(reply: Reply, handle: ListenHandle | undefined): void;
}

/** Installs the hook. `ask` sends a query to the master; `servers` know which listener of the master's a server has; `holdsBack`: nothing is accepted before the admission. */
export function capture(ask: (id: number, query: ListenQuery) => void, servers: Pick<Servers, 'named' | 'listeningOn'>, holdsBack: () => boolean): Capture {
  const pending = new Map<number, Pending>();
  const held: { readonly server: Server; readonly handle: ListenHandle; readonly listen: () => number; readonly reply: Reply; readonly port: number }[] = [];
  const places = placeKeeper();
  let isAdmitted = false;
  let lastId = 0;
  answerListens((server, query, listening) => {
    const { port, addressType } = query;
    const id = ++lastId;
    const place = port === 0 ? places.take(`${query.address}:${addressType}`) : undefined;
    if (place) server.once('close', place.leave);
    pending.set(id, {
      onReply(reply, handle) {
        // other processes may share an address, two servers of one process may not
        const errno = handle && servers.listeningOn(reply.listener) ? errnoInUse() : reply.errno;
        if (handle === undefined || errno < 0) {
          handle?.close();
          place?.leave();
          return listening.fail(errno, { ...reply, address: query.address ?? reply.address, port });
        }
        servers.named(server, reply.listener);
        importServerData(server, reply.serverData);
        const mayAccept = isAdmitted || (reply.isAdmitted && !holdsBack());
        const listen = holdBack(handle, reply.backlog, mayAccept);
        if (!mayAccept) held.push({ server, handle, listen, reply, port });
        listening.give(handle);
      },
    });
    ask(id, toQuery(server, query, place?.index ?? 0));
  });
  return {
    get isAsking() {
      return pending.size > 0;
    },
    get isWaiting() {
      return pending.size > 0 || held.length > 0;
    },
    onReply(reply, handle) {
      pending.get(reply.id)?.onReply(reply, handle);
      pending.delete(reply.id);
    },
    admit() {
      isAdmitted = true;
      return held.splice(0).reduce((first, { server, handle, listen, reply, port }) => {
        const errno = isOpen(handle) ? listen() : 0;
        if (errno < 0) failListen(server, errno, { ...reply, port });
        return first === 0 ? errno : first;
      }, 0);
    },
  };
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

/** Gives each of several listens on port 0 the lowest number that no open server has: the first is 0 in every generation. */
function placeKeeper(): { take(key: string): { readonly index: number; leave(): void } } {
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
