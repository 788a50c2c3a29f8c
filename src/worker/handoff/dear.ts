/**
 * HTTP/1.1 connections that cost more than new ones would, as those behind TLS that have moved: after some time, or so many bytes, the answer to one request says
 * `Connection: close`, and the client's next connection is a native one. Its client sends nothing before it has that answer, so nothing is lost.
 */
import type { Socket } from 'node:net';
import { endAtNextRequest, isHttp } from '../../node/http.ts';
import { lingerClose } from '../closing/linger.ts';
import { guarded } from '../guard.ts';

const MOST_MS = 300_000;
const MOST_BYTES = 16 * 1024 * 1024;
const LOOK_MS = 1_000;

/** Since when. */
const dear = new Map<Socket, number>();
let timer: NodeJS.Timeout | undefined;

/** Ends a connection at a moment that harms nobody, some minutes or megabytes from now. */
export function endInTime(socket: Socket): void {
  dear.set(socket, performance.now());
  timer ??= setInterval(guarded(look), LOOK_MS).unref();
}

function look(): void {
  const now = performance.now();
  for (const [socket, since] of dear) {
    const isOver = now - since > MOST_MS || socket.bytesRead + socket.bytesWritten > MOST_BYTES;
    if (isOver && isHttp(socket)) endAtNextRequest(socket, () => endGently(socket));
    if (isOver || socket.destroyed) dear.delete(socket);
  }
  if (dear.size > 0) return;
  clearInterval(timer);
  timer = undefined;
}

/** What Node does after the last response would reset a client that has sent something meanwhile. */
function endGently(socket: Socket): void {
  socket.destroySoon = () => lingerClose(socket);
}
