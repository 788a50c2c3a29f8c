/**
 * The transports that this worker has: plain connections always; TLS only where that is wanted, and loaded when a server that speaks it listens. By then no
 * connection has come, so each is observed from its handshake on.
 */
import type { Server } from 'node:net';
import type { FromWorker } from '../../protocol/worker.ts';
import { guarded, tellMistake } from '../guard.ts';
import type { Transport } from './carrier.ts';
import { plainTransport } from './plain.ts';
import type { TlsTransport } from './tls/transport.ts';

/** Who carries what lies below a protocol. */
export interface Transports {
  /** undefined: connections of this server don't move. */
  of(server: Server): Transport | undefined;
}

/** What TLS has to be told, and tells. */
export interface SecureHost {
  /** Keys of those who may adopt. */
  keys(): readonly string[];
  tell(message: FromWorker): void;
  /** What would be the same in each worker is told by one of them. */
  readonly isSpokesman: boolean;
}

/** With TLS. */
export interface SecureTransports extends Transports {
  onListening(server: Server): void;
  /** The program serves: by now it has a TLS server, or has no use for this. */
  onReady(): void;
}

/** Connections behind TLS stay. */
export const plainOnly: Transports = { of: (server) => (isSecure(server) ? undefined : plainTransport) };

/** Those behind TLS move, if this Node lets them. */
export function prepareSecure(host: SecureHost): SecureTransports {
  let tls: Promise<TlsTransport | undefined> | undefined;
  let loaded: TlsTransport | undefined;
  const told = new Set<string>();
  const notice = (text: string) => void (host.isSpokesman && !told.has(text) && told.add(text) && host.tell({ type: 'notice', text }));
  const tellUnfit = (why: string) => notice(`hands no connection behind TLS over (--handoff-tls): ${why}`);
  const load = async (): Promise<TlsTransport | undefined> => {
    const { makeTlsTransport, obstacle } = await import('./tls/transport.ts');
    const reason = obstacle();
    if (reason !== undefined) {
      tellUnfit(reason);
      return undefined;
    }
    loaded = makeTlsTransport({ keys: host.keys, onUnfit: tellUnfit });
    host.tell({ type: 'key', key: loaded.key });
    return loaded;
  };
  return {
    of: (server) => (isSecure(server) ? (loaded?.mayCarry(server) ? loaded : undefined) : plainTransport),
    onListening: guarded((server: Server) => {
      if (!isSecure(server)) return;
      tls ??= load();
      void tls.then((transport) => transport?.observe(server)).catch(tellMistake);
    }),
    onReady: () => void (tls ?? notice('has no server that speaks TLS, so --handoff-tls does nothing')),
  };
}

function isSecure(server: Server): boolean {
  return 'setSecureContext' in server;
}
