/** What is at the other end of a Unix socket. */
import { connect } from 'node:net';
import { systemCode } from './errors.ts';

/** True if somebody answers there; what can't be found out counts as an answer. */
export function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error) => resolve(!['ECONNREFUSED', 'ENOENT', 'ENOTSOCK'].includes(systemCode(error) ?? '')));
  });
}
