/** Connections that nothing lies below but the kernel: whoever has the handle has everything. */
import type { Socket } from 'node:net';
import { hasHandle, lend, receive, takeFrom } from '../../node/connection.ts';
import type { Arrival, Berth, Stay, Transport } from './carrier.ts';

/** It may go a moment later. */
export const busy: Stay = { isFinal: false };

export const plainTransport: Transport = {
  carries: () => true,
  check: (_server, socket) => (isQuiet(socket) ? undefined : busy),
  pack: () => undefined,
  lend,
  unpack: () => berth,
};

const berth: Berth = {
  receive(server, handle) {
    const received = receive(server, handle);
    return received && arrivalOf(received);
  },
  giveUp() {},
};

/** What is written to it before it is known to stay has gone out all the same: of two greetings no harm comes. */
function arrivalOf({ socket, announce }: Pick<Arrival, 'socket' | 'announce'>): Arrival {
  return {
    socket,
    announce,
    settle() {},
    withdraw: () => void (hasHandle(socket) && takeFrom(socket).close()),
  };
}

/** Nothing is buffered either way, and neither side has begun to close. */
export function isQuiet(socket: Socket): boolean {
  const isOpen = !socket.destroyed && !socket.readableEnded && !socket.writableEnded && !socket.connecting;
  return isOpen && socket.readableLength === 0 && socket.writableLength === 0 && hasHandle(socket);
}
