/**
 * Sockets of connections that live on elsewhere. A program takes `close` for a client that has left, and stops what it does for it; so it is told only when
 * this process ends.
 */
import type { Socket } from 'node:net';
import { rawOf } from '../../node/connection.ts';

/** Who has not been told yet. */
export interface Departed {
  add(socket: Socket): void;
  /** The process is about to end. The program's own clean-up, if it has one, may wait for its sockets to close. */
  closeAtEnd(hasCleanUp: boolean): void;
}

/** Nobody has departed yet. */
export function makeDeparted(): Departed {
  const departed = new Set<Socket>();
  const close = () => {
    for (const socket of departed) socket.destroy();
    departed.clear();
  };
  return {
    add(socket) {
      departed.add(socket);
      const raw = rawOf(socket);
      if (raw) departed.add(raw); // a program may listen to that one
    },
    closeAtEnd(hasCleanUp) {
      if (hasCleanUp) return close();
      process.once('beforeExit', close);
      process.prependOnceListener('exit', () => {
        for (const socket of departed) if (!socket.destroyed) socket.emit('close', false); // no tick is left for Node to tell it in
      });
    },
  };
}
