/**
 * The hook by which a program gets the master's listeners.
 *
 * Undocumented: in a process whose `cluster.isPrimary` is false, `server.listen` asks `cluster._getServer(server, query, callback)`
 * for its handle instead of binding one, unless `exclusive` is set. Tried on 20.20, 22.23, 24.21, 26.10. Should a Node stop
 * asking, programs bind by themselves: they work, and a reload fails with the port in use, the old generation serving on.
 */
import cluster, { type Worker } from 'node:cluster';
import dgram from 'node:dgram';
import type { EventEmitter } from 'node:events';
import { syncBuiltinESMExports } from 'node:module';
import type net from 'node:net';
import type { ListenHandle } from './handle.ts';

/** What Node asks for: how `listen` was called, understood and resolved. */
export interface ServerQuery {
  readonly address: string | null;
  readonly port: number | null;
  readonly addressType: number | null;
  readonly fd: number | undefined;
  readonly flags: number | undefined;
  readonly backlog: number | undefined;
  readonly readableAll?: boolean;
  readonly writableAll?: boolean;
}

/** TLS servers have these two; they carry the ticket keys. */
interface SharesData {
  _getServerData?(): unknown;
  _setServerData?(data: unknown): void;
}

type Answer = (errno: number, handle: ListenHandle) => void;
type Ask = (server: net.Server, query: ServerQuery, answer: Answer) => void;

/** From now on `ask` is called for every listen that is not exclusive. */
export function answerListens(ask: Ask): void {
  const internal = cluster as unknown as { isPrimary: boolean; isMaster: boolean; isWorker: boolean; _getServer: Ask };
  internal.isPrimary = false;
  internal.isMaster = false;
  internal.isWorker = true;
  internal._getServer = ask;
  syncBuiltinESMExports(); // for `import { isPrimary } from 'node:cluster'`
  keepDatagramsPrivate();
}

/** Gives programs that use `cluster` themselves the worker they expect to be. */
export function presentAsClusterWorker(id: number, disconnect: () => void): void {
  const worker = Object.create((cluster as unknown as { Worker: typeof Worker }).Worker.prototype) as EventEmitter & Record<string, unknown>;
  Object.assign(worker, { id, process, state: 'online', exitedAfterDisconnect: undefined, disconnect, kill: disconnect, destroy: disconnect });
  (cluster as { worker?: unknown }).worker = worker;
}

/** UDP sockets ask the same hook, but custody is for listeners alone: they are bound as without a supervisor. */
function keepDatagramsPrivate(): void {
  const { prototype } = dgram.Socket;
  const bind = prototype.bind as (...args: unknown[]) => dgram.Socket;
  prototype.bind = function (this: dgram.Socket, ...args: unknown[]) {
    const [first, second] = args;
    const isHandle = typeof first === 'object' && first !== null && 'recvStart' in first;
    if (isHandle) return Reflect.apply(bind, this, args);
    const named = typeof first === 'object' && first !== null ? first : { port: toPort(first), address: typeof second === 'string' ? second : undefined };
    return Reflect.apply(bind, this, [{ ...named, exclusive: true }, ...args.slice(-1).filter((last) => typeof last === 'function')]);
  } as typeof prototype.bind;
}

function toPort(first: unknown): unknown {
  return typeof first === 'function' ? 0 : first;
}

/** What a TLS server shares with its siblings; undefined for others. */
export function exportServerData(server: net.Server): unknown {
  return (server as SharesData)._getServerData?.();
}

/** Takes over what a sibling exported. */
export function importServerData(server: net.Server, data: unknown): void {
  if (data !== undefined && data !== null) (server as SharesData)._setServerData?.(data);
}
