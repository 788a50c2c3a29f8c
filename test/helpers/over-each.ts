/** Promises about connections that hold whatever they are carried by: one table, no copies. */
import { test } from 'node:test';
import { type Transport, transports } from './rig.ts';

/** What an account calls connections. */
export const kinds: Readonly<Record<Transport, { readonly http: string; readonly webSocket: string; readonly raw: string }>> = {
  plaintext: { http: 'http', webSocket: 'websocket', raw: 'tcp' },
  TLS: { http: 'https', webSocket: 'wss', raw: 'tls' },
};

/** The same test for each transport. */
export function overEach(name: string, run: (over: Transport) => Promise<void>): void {
  for (const over of transports) test(`${name}, over ${over}`, () => run(over));
}
