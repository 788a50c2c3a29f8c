/** A TLS server of this process whose connections move within it, as they do when a worker takes one back. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import net, { type AddressInfo, type Server } from 'node:net';
import tls, { type TLSSocket } from 'node:tls';
import type { ConnectionHandle } from '../../../src/node/connection.ts';
import { look, observe } from '../../../src/node/tls.ts';
import { capture, detach } from '../../../src/worker/handoff/tls/capture.ts';
import { type MovedTlsSocket, openMoved, settle } from '../../../src/worker/handoff/tls/moved-socket.ts';
import { forgetTlsState, readTlsState, type TlsState, writeTlsState } from '../../../src/worker/handoff/tls/tls-state.ts';
import { makeFolder } from './folder.ts';

/** A key and a certificate of its own for localhost. */
export function makeCredentials(name = 'localhost'): { readonly key: Buffer; readonly cert: Buffer } {
  using folder = makeFolder();
  const [key, cert] = [`${folder.path}/key.pem`, `${folder.path}/cert.pem`];
  const what = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', `/CN=${name}`];
  execFileSync('openssl', ['req', '-x509', ...what, '-keyout', key, '-out', cert], { stdio: 'pipe' });
  return { key: readFileSync(key), cert: readFileSync(cert) };
}

/** Listens on a port that is free, and notes what has to be noted. */
export async function listenObserved(server: Server): Promise<number> {
  observe(server);
  server.on('tlsClientError', () => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** What a connection is made of, as if it had been looked at before; a string: why it stays. */
export function captureAtOnce(socket: TLSSocket): TlsState | string {
  look(socket);
  const state = capture(socket);
  return 'not' in state ? state.not : state;
}

/** Takes a connection from its socket and lets it go on with another one, which its server is given. @returns that one, or why it stays */
export function move(server: Server, socket: TLSSocket): MovedTlsSocket | string {
  const state = captureAtOnce(socket);
  if (typeof state === 'string') return state;
  const bytes = writeTlsState(state);
  forgetTlsState(state);
  const handle = detach(socket);
  socket.destroy();
  const moved = openOn(server, handle, readTlsState(bytes));
  server.emit('secureConnection', moved);
  settle(moved);
  return moved;
}

/** As a server receives a connection. */
export function openOn(server: Server, handle: ConnectionHandle, state: TlsState): MovedTlsSocket {
  const raw = new net.Socket({
    handle,
    readable: true,
    writable: true,
    allowHalfOpen: (server as { allowHalfOpen?: boolean }).allowHalfOpen,
  } as net.SocketConstructorOpts);
  return openMoved(Object.assign(raw, { server }), state);
}

/** A raw TLS server. `onConnection` gets native connections, and moved ones. */
export function makeServer(options: tls.TlsOptions, onConnection: (socket: TLSSocket) => void): Server {
  return tls.createServer(options, (socket) => {
    socket.on('error', () => {});
    onConnection(socket);
  });
}
