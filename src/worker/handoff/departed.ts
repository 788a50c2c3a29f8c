/**
 * Sockets of connections that live on elsewhere. A program takes `close` for a client that has left, and stops what it does for it; so it is told only when
 * this process ends.
 */
import type { Socket } from 'node:net';

/** Who has not been told yet. */
export interface Departed {
  add(socket: Socket): void;
  /** The process is about to end: by the program's own clean-up, which may wait for its sockets to close, or by itself. */
  closeAtEnd(): void;
}

/** Nobody has departed yet. */
export function makeDeparted(): Departed {
  const departed = new Set<Socket>();
  const close = () => {
    for (const socket of departed) socket.destroy();
    departed.clear();
  };
  return {
    add: (socket) => void departed.add(socket),
    closeAtEnd() {
      if (process.listenerCount('SIGTERM') > 0 || process.listenerCount('SIGINT') > 0) return close();
      process.once('beforeExit', close);
      process.once('exit', () => {
        for (const socket of departed) if (!socket.destroyed) socket.emit('close', false); // no tick is left for Node to tell it in
      });
    },
  };
}
