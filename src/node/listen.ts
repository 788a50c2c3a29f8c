/**
 * The hook by which a program gets the master's listeners.
 *
 * Undocumented, each tried on 20.20, 22.23, 24.21, 26.10:
 * - `server._listen2(address, port, addressType, backlog, fd, flags)`: what `server.listen` calls in the end, under this name so that it can be wrapped,
 *   once the arguments are understood and the host is resolved; unless it has a handle already, it binds one. For one listen a server gets a property of
 *   that name, of its own, which is gone when the program runs again: Node's classes stay as they are. Should a Node stop calling it, programs bind by
 *   themselves: they work, and a reload fails with the port in use, the old generation serving on.
 * - `server._listeningId`: counts calls of `listen` and `close`. Missing: an answer that comes after a `close` makes the server listen.
 *
 * Whether a listen is `exclusive` only its options tell, and those only a diagnostics channel. A worker of a program's own `cluster` asks that cluster.
 */
import { AsyncResource } from 'node:async_hooks';
import diagnostics from 'node:diagnostics_channel';
import type net from 'node:net';
import { failListen, keepGiven, type ListenHandle } from './handle.ts';

/** How `listen` was called, understood and resolved. */
export interface ServerQuery {
  readonly address: string | null;
  /** -1 for a Unix socket. */
  readonly port: number;
  /** 4, 6, or -1 for a Unix socket. */
  readonly addressType: number;
  readonly flags: number;
  /** 0: none was named. */
  readonly backlog: number;
  readonly readableAll: boolean;
  readonly writableAll: boolean;
}

/** One listen that waits for its handle. */
export interface Listening {
  /** Lets the server have it; one that was closed meanwhile does not want it any more. */
  give(handle: ListenHandle): void;
  /** Makes it fail with the very error that Node itself would give. */
  fail(errno: number, where: { readonly address: string | null; readonly port: number; readonly addressType: number }): void;
  /** Lets Node bind by itself, as if there were no supervisor. */
  goAlone(): void;
}

type Ask = (server: net.Server, query: ServerQuery, listening: Listening) => void;

interface Options {
  readonly exclusive?: boolean;
  readonly readableAll?: boolean;
  readonly writableAll?: boolean;
}

interface InternalServer extends net.Server {
  _handle: ListenHandle | null;
  readonly _listeningId?: number;
  _listen2(...how: How): void;
}

type How = [address: string | null, port: number, addressType: number, backlog: number | undefined, fd: number | undefined, flags: number | undefined];

/** TLS servers have these two; they carry the ticket keys. */
interface SharesData {
  _getServerData?(): unknown;
  _setServerData?(data: unknown): void;
}

/** What a server had of its own under that name, by what stands there for one listen. */
const replaced = new WeakMap<object, PropertyDescriptor | undefined>();

/** From now on `ask` is called for every listen on an address that is not exclusive. */
export function answerListens(ask: Ask): void {
  diagnostics.subscribe('tracing:net.server.listen:asyncStart', (message) => {
    const { server, options } = message as { server: InternalServer; options: Options };
    const present = Object.getOwnPropertyDescriptor(server, '_listen2');
    const own = replaced.has(present?.value) ? replaced.get(present?.value) : present; // a listen whose host was not found leaves ours there
    const value = (...how: How) => {
      Reflect.deleteProperty(server, '_listen2');
      if (own) Object.defineProperty(server, '_listen2', own);
      if (server._handle || options.exclusive || typeof how[4] === 'number') server._listen2(...how);
      else ask(server, queryOf(how, options), listeningOf(server, how));
    };
    replaced.set(value, own);
    Object.defineProperty(server, '_listen2', { value, configurable: true, writable: true, enumerable: false });
  });
}

function queryOf([address, port, addressType, backlog, , flags]: How, { readableAll, writableAll }: Options): ServerQuery {
  return { address, port, addressType, flags: flags ?? 0, backlog: backlog || 0, readableAll: readableAll === true, writableAll: writableAll === true };
}

/** The answer comes out of nowhere: what follows is to be in the async context of the `listen`, `listening` and every connection. */
function listeningOf(server: InternalServer, how: How): Listening {
  const context = new AsyncResource('LISTEN');
  const id = server._listeningId;
  const goAlone = () => server._listen2(...how);
  const give = (handle: ListenHandle) => {
    if (server._listeningId !== id) return handle.close();
    server._handle?.close();
    server._handle = handle;
    keepGiven(server, handle);
    goAlone();
    acceptIn(context, handle);
  };
  const fail: Listening['fail'] = (errno, where) => {
    if (server._listeningId === id) failListen(server, errno, where);
  };
  return { give: (handle) => context.runInAsyncScope(give, null, handle), fail: (...why) => context.runInAsyncScope(fail, null, ...why), goAlone };
}

/** A handle that Node makes in a `listen` remembers where; ours was made elsewhere. One call more for each connection. */
function acceptIn(context: AsyncResource, handle: ListenHandle): void {
  const accept = handle.onconnection;
  if (accept === undefined) return;
  handle.onconnection = (errno, connection) => context.runInAsyncScope(accept, handle, errno, connection);
}

/** What a TLS server shares with its siblings; undefined for others. */
export function exportServerData(server: net.Server): unknown {
  return (server as SharesData)._getServerData?.();
}

/** Takes over what a sibling exported. */
export function importServerData(server: net.Server, data: unknown): void {
  if (data !== undefined && data !== null) (server as SharesData)._setServerData?.(data);
}
