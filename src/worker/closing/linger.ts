/**
 * A close that loses nothing already sent. Closing a socket while the kernel holds unread data resets the connection, and
 * the peer loses our last bytes; so: FIN, read and discard until the peer closes too, or a timeout.
 */
import type { Socket } from 'node:net';
import { guarded } from '../guard.ts';

const LINGER_MS = 2_000;
const lingering = new WeakSet<Socket>();

/** Ends a connection with FIN; whatever still arrives is discarded, and no longer reaches the program. */
export function lingerClose(socket: Socket, lingerMs: number = LINGER_MS): void {
  if (socket.destroyed || lingering.has(socket)) return;
  lingering.add(socket);
  const destroy = guarded(() => void socket.destroy()); // which programs wrap
  const timer = setTimeout(destroy, lingerMs);
  if ('setTimeout' in socket) socket.setTimeout(0); // a program may give any stream to its server
  socket.removeAllListeners('data');
  // on an HTTP connection this also takes the bytes away from the parser
  socket.on('data', () => {});
  socket.once('end', () => ('destroySoon' in socket ? socket.destroySoon() : (socket as Socket).destroy()));
  socket.once('close', () => clearTimeout(timer));
  socket.on('error', () => {}); // ECONNRESET, EPIPE: the peer is gone, which is all we wait for
  socket.end();
  socket.resume();
}
