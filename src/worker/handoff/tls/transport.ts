/**
 * TLS 1.3 as a transport: what OpenSSL has of a connection crosses sealed, and the record layer goes on in JavaScript. No key is used by two: OpenSSL's state is
 * freed before the connection is offered, its successor's is made from what was opened only when the ticket is taken, and nothing is sealed with it before the
 * program has taken the connection in (until then it may still be refused, and go back with the numbers that it came with).
 */
import type { Server, Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { hasHandle, keepCounted, type Loan, rawOf, receive, takeFrom } from '../../../node/connection.ts';
import { contextOf, look, type Not, observe } from '../../../node/tls.ts';
import { tellMistake } from '../../guard.ts';
import type { Arrival, Berth, Stay, Transport, TransportBaggage } from '../carrier.ts';
import { busy, isQuiet } from '../plain.ts';
import { capture, detach } from './capture.ts';
import { type MovedTlsSocket, openMoved, settle, silence } from './moved-socket.ts';
import { makeRecipient } from './sealed.ts';
import { selfTest } from './self-test.ts';
import { forgetTlsState, readTlsState, type TlsState, writeTlsState } from './tls-state.ts';

/** What it has to be told, and tells. */
interface TlsHost {
  /** Keys of those who may adopt. */
  keys(): readonly string[];
  /** This Node does not do what is relied on. */
  onUnfit(reason: string): void;
}

/** One a worker. */
export interface TlsTransport extends Transport {
  /** What is to be opened here is sealed with it. */
  readonly key: string;
  /** Of connections that come from now on secrets and numbers are noted; and it is tried out whether those of this server can move. */
  observe(server: Server): void;
  /** Nothing speaks against it so far. */
  mayCarry(server: Server): boolean;
}

interface TlsBaggage extends TransportBaggage {
  readonly sealed: string;
}

const untried: Stay = { reason: 'whether TLS can be handed over was still being found out', isFinal: false };
const momentary: Stay = { isFinal: false, isMomentary: true };

/** Why this Node can't do it at all; undefined: no reason is known yet. */
export function obstacle(): string | undefined {
  const { getFips } = process.getBuiltinModule('node:crypto');
  return getFips() === 0 ? undefined : 'in FIPS mode a record layer in JavaScript is not allowed';
}

/** Prepares it; nothing moves before a server is observed, and its self-test has passed. */
export function makeTlsTransport({ keys, onUnfit }: TlsHost): TlsTransport {
  const recipient = makeRecipient();
  const trials = makeTrials(onUnfit);
  return {
    kind: 'tls',
    key: recipient.publicKey,
    observe(server) {
      observe(server);
      trials.begin(server);
    },
    mayCarry: (server) => trials.verdict(server) !== 'unfit',
    carries: (socket) => (socket as TLSSocket).encrypted === true,
    check(server, socket) {
      if (!isQuiet(socket)) return busy;
      if (trials.verdict(server) !== 'fit') return untried;
      const captured = capture(socket as TLSSocket);
      if ('not' in captured) return stayOf(captured);
      forgetTlsState(captured);
      return undefined;
    },
    look: (socket) => look(socket as TLSSocket),
    pack(socket) {
      const captured = capture(socket as TLSSocket);
      if ('not' in captured) throw new Error(captured.not); // `check` has just found nothing
      const bytes = writeTlsState(captured);
      const sealed = recipient.seal([...keys(), recipient.publicKey], bytes);
      bytes.fill(0);
      forgetTlsState(captured);
      return { kind: 'tls', sealed } as TlsBaggage;
    },
    lend,
    unpack(baggage) {
      const bytes = recipient.open((baggage as TlsBaggage).sealed);
      const state = bytes && readTlsState(bytes);
      bytes?.fill(0);
      return state && berthOf(state);
    },
  };
}

function stayOf({ not, isFinal, isMomentary }: Not): Stay {
  return isMomentary ? momentary : { reason: not, isFinal };
}

interface Trials {
  begin(server: Server): void;
  verdict(server: Server): 'fit' | 'unfit' | undefined;
}

/** Of this Node binary once, and of each server with what it shows its clients. */
function makeTrials(onUnfit: (reason: string) => void): Trials {
  const verdicts = new WeakMap<Server, 'fit' | 'unfit'>();
  let ofNode: Promise<string | undefined> | undefined;
  const tryOut = async (server: Server) => {
    ofNode ??= selfTest();
    const context = contextOf(server);
    const reason = (await ofNode) ?? (context && (await selfTest(context)));
    verdicts.set(server, reason === undefined ? 'fit' : 'unfit');
    if (reason !== undefined) onUnfit(`its self-test failed: ${reason}`);
  };
  return { begin: (server) => void tryOut(server).catch(tellMistake), verdict: (server) => verdicts.get(server) };
}

/** The old socket is never given the connection back: OpenSSL's state is gone. The server counts it until it has a new one, here or elsewhere. */
function lend(socket: Socket, tellsClose: boolean): Loan {
  const uncount = keepCounted(rawOf(socket) ?? socket);
  const handle = detach(socket as TLSSocket);
  if (tellsClose) socket.destroy();
  else socket.setTimeout(0).on('error', () => {}); // whatever is written to it now
  return { handle, giveBack: () => false, end: uncount };
}

function berthOf(state: TlsState): Berth {
  return {
    receive(server, handle) {
      const received = receive(server, handle);
      if (received) return arrivalOf(server, openMoved(received.socket, state));
      forgetTlsState(state);
      return undefined;
    },
    giveUp: () => forgetTlsState(state),
  };
}

function arrivalOf(server: Server, socket: MovedTlsSocket): Arrival {
  return {
    socket,
    isDear: true,
    announce: (instead = socket) => void server.emit('secureConnection', instead),
    settle: () => settle(socket),
    withdraw() {
      silence(socket);
      if (hasHandle(socket)) takeFrom(socket).close();
    },
  };
}
