/**
 * A connection of this process with itself, over loopback: one end a socket, the other a raw handle that nobody has read from.
 *
 * Undocumented, each tried on 20.20, 22.23, 24.21, 26.10: `handle.listen` and `handle.onconnection` of a bound handle (see
 * handle.ts), which accept without a `net.Server` that others would see; `handle.getpeername`, which tells our own connection from
 * one that somebody else made to the port meanwhile. Missing: there is no such connection, and what needs it says so.
 */
import { connect, type Socket } from 'node:net';
import type { ConnectionHandle } from './connection.ts';
import { bindHandle, type ListenHandle, portOf } from './handle.ts';

/** Both ends. Whoever holds the handle must close it. */
export interface Pair {
  readonly client: Socket;
  readonly handle: ConnectionHandle;
  /** Local port of the handle's end. */
  readonly port: number;
}

interface Accepted extends ConnectionHandle {
  getpeername?(into: { port?: number }): number;
}

const LOOPBACK = '127.0.0.1';
const BACKLOG = 8;

/** Makes a connection; when the signal aborts, its client's end is destroyed. @throws where there is no loopback */
export async function makePair(signal: AbortSignal): Promise<Pair> {
  const listener = bindHandle(LOOPBACK, 0, 4, 0);
  if (typeof listener === 'number') throw new Error(`cannot bind ${LOOPBACK} (errno ${listener})`);
  const port = portOf(listener);
  const client = connect({ host: LOOPBACK, port, noDelay: true, signal });
  client.on('error', () => {}); // whoever uses the connection hears of it
  try {
    return { client, handle: await meet(listener, client), port };
  } catch (error) {
    client.destroy();
    throw error;
  } finally {
    listener.close();
  }
}

/** The accepted end of our own connection; all others are closed. */
function meet(listener: ListenHandle, client: Socket): Promise<ConnectionHandle> {
  const arrived: Accepted[] = [];
  const own = new Promise<ConnectionHandle>((resolve, reject) => {
    const look = () => {
      const at = client.connecting ? -1 : arrived.findIndex((handle) => peerPortOf(handle) === client.localPort);
      if (at >= 0) resolve(arrived.splice(at, 1)[0] as ConnectionHandle);
    };
    listener.onconnection = (errno, handle) => {
      if (errno === 0) arrived.push(handle as Accepted);
      look();
    };
    client.once('connect', look);
    client.once('error', reject);
    const errno = listener.listen(BACKLOG);
    if (errno < 0) reject(new Error(`cannot listen on ${LOOPBACK} (errno ${errno})`));
  });
  return own.finally(() => {
    for (const handle of arrived) handle.close();
  });
}

function peerPortOf(handle: Accepted): number | undefined {
  const name: { port?: number } = {};
  handle.getpeername?.(name);
  return name.port;
}
