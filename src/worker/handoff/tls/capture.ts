/** What a TLS connection is made of at a moment at which it may leave, whether OpenSSL speaks for it or JavaScript. */
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { type ConnectionHandle, detach as detachPlain } from '../../../node/connection.ts';
import { capture as captureNative, detach as detachNative, type Not } from '../../../node/tls.ts';
import { chainOf } from './certificates.ts';
import { suiteOf } from './keys.ts';
import { isMoved, silence, stateOf } from './moved-socket.ts';
import type { Description, TlsState } from './tls-state.ts';

/** Looks at a connection, and does not touch it. @returns its state, whose secrets are copies to be zeroed, or why it stays */
export function capture(socket: TLSSocket): TlsState | Not {
  if (isMoved(socket)) return stateOf(socket) ?? { not: 'it is busy', isFinal: false, isMomentary: true };
  const suite = socket.getCipher()?.standardName ?? '';
  const captured = captureNative(socket);
  if ('not' in captured) return captured;
  if (suiteOf(suite) === undefined) return { not: `its suite is ${suite}`, isFinal: true };
  const { clientSecret, serverSecret, exporter, read, written, largestFragment } = captured;
  return {
    suite,
    read: { secret: clientSecret, ...read },
    write: { secret: serverSecret, sequence: written },
    exporter,
    largestFragment,
    about: describe(socket),
  };
}

/** Takes the handle away in the tick of `capture`. Nothing is sent, and nobody in this process can write to the connection any more. */
export function detach(socket: Socket): ConnectionHandle {
  if (!isMoved(socket)) return detachNative(socket as TLSSocket);
  silence(socket);
  return detachPlain(socket);
}

function describe(socket: TLSSocket): Description {
  const { authorized, authorizationError, alpnProtocol, servername } = socket as TLSSocket & { readonly servername: string | false | null };
  return {
    authorized,
    authorizationError: authorizationError ? String(authorizationError) : undefined,
    alpnProtocol,
    servername,
    cipher: socket.getCipher(),
    isReused: socket.isSessionReused(),
    chain: chainOf(socket),
  };
}
