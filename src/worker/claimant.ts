/** What asks for a socket of the master's, and how it gets that: a server that listens, a datagram socket that is bound. */
import type { Socket } from 'node:dgram';
import type { Server } from 'node:net';
import { resolve } from 'node:path';
import type { Binding, BindQuery } from '../node/bind.ts';
import { type DatagramHandle, delayDatagramClose, EOPNOTSUPP, holdBackReceiving, REUSE_ADDRESS, shareConnect, shareMemberships } from '../node/datagram.ts';
import { delayClose, failListen, holdBack, keepPromise, type ListenHandle, promise } from '../node/handle.ts';
import { exportServerData, importServerData, type Listening, type ServerQuery } from '../node/listen.ts';
import type { GroupMembership, ListenQuery, ToWorker } from '../protocol/worker.ts';
import type { Datagrams } from './datagrams.ts';
import type { Servers } from './servers.ts';
import { umask } from './unix-path.ts';

/** The master's answer. */
export type Reply = Extract<ToWorker, { type: 'listener' }>;

/** What a claimant does not know of its query. */
export type Claim = Omit<ListenQuery, 'index' | 'isFinal'>;

/** One listen, or one bind. */
export interface Claimant {
  /** What the program has, and may give to a child. */
  readonly it: object;
  readonly claim: Claim;
  /** Those that share it are counted: each gets its own, and in the successor the same again; null: there is but one. */
  readonly sharedBy: string | null;
  /** Before it is given: unless it may begin, nothing comes in. @returns lets it begin; an errno below 0 says that it could not */
  prepare(handle: ListenHandle | DatagramHandle, reply: Reply, mayBegin: boolean): () => number;
  /** `isPromised`: it believes that it has one. */
  give(handle: ListenHandle | DatagramHandle, reply: Reply, isPromised: boolean): void;
  /** What lets it believe that it has one. Without it, what can't be had now can't be had. */
  promise?(reply: Reply): ListenHandle;
  /** `hasBegun`: it believes, or has had, something already. */
  fail(errno: number, reply: Reply, hasBegun: boolean): void;
  /** It is not closed for its program before the returned function is called. */
  delayClose(): () => void;
}

/** The first argument's `listen`. */
export function claimantOf(server: Server, query: ServerQuery, listening: Listening, servers: Pick<Servers, 'named'>): Claimant {
  const { address, port, addressType, backlog } = query;
  const path = pathOf(query);
  const serverData = exportServerData(server) ?? null;
  return {
    it: server,
    claim: { ...query, isDatagram: false, address: path ?? address, backlog: Math.trunc(backlog), umask: path === null ? null : umask(), serverData },
    sharedBy: port === 0 ? `${address}:${addressType}` : null,
    prepare(handle, reply, mayBegin) {
      servers.named(server, reply.listener);
      importServerData(server, reply.serverData);
      return holdBack(handle as ListenHandle, reply.backlog, mayBegin);
    },
    give(handle, reply, isPromised) {
      if (!isPromised) return listening.give(handle as ListenHandle);
      const errno = keepPromise(server, handle as ListenHandle, reply.backlog);
      if (errno !== 0) failListen(server, errno, { ...reply, port });
    },
    promise: (reply) => promise(reply.address ?? '', port, reply.addressType),
    fail(errno, reply, hasBegun) {
      const where = { ...reply, address: address ?? reply.address, port };
      if (hasBegun) failListen(server, errno, where);
      else listening.fail(errno, where);
    },
    delayClose: () => delayClose(server),
  };
}

/** Absolute; null: it is none, or one that has no file. */
export function pathOf({ address, port }: ServerQuery): string | null {
  return port === -1 && address !== null && !address.startsWith('\0') ? resolve(address) : null;
}

/** What a claimant of datagrams tells. */
export interface DatagramHost {
  readonly datagrams: Datagrams;
  tellMembership(membership: GroupMembership, isMember: boolean): void;
}

/** The first argument's `bind`. */
export function datagramClaimantOf(socket: Socket, query: BindQuery, binding: Binding, { datagrams, tellMembership }: DatagramHost): Claimant {
  const { address, port, addressType, flags } = query;
  return {
    it: socket,
    claim: { ...query, isDatagram: true, backlog: 0, readableAll: false, writableAll: false, umask: null, serverData: null },
    sharedBy: flags & REUSE_ADDRESS ? `udp ${address}:${port}:${addressType}` : null,
    prepare(given, _reply, mayBegin) {
      const handle = given as DatagramHandle;
      shareConnect(socket, handle);
      shareMemberships(handle, tellMembership);
      return holdBackReceiving(socket, handle, mayBegin);
    },
    give(handle) {
      binding.give(handle as DatagramHandle);
      datagrams.add(handle as DatagramHandle);
    },
    fail(errno, _reply, hasBegun) {
      if (hasBegun) return; // the master is told that it could not be admitted
      if (errno === EOPNOTSUPP) process.nextTick(binding.goAlone);
      else binding.fail(errno);
    },
    delayClose: () => delayDatagramClose(socket),
  };
}
