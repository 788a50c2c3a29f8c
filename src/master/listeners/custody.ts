/** Custody as it begins: with what systemd passed along, and with its descriptor store. */

import type { Kernel } from '../../kernel.ts';
import type { Log } from '../log/log.ts';
import { openStore } from './descriptor-store.ts';
import { inherit } from './inherited.ts';
import { Listeners } from './listeners.ts';
import type { PathState } from './socket-path.ts';

/** The listeners of this master; what can't be used is logged. Never throws. */
export function openCustody(env: Readonly<NodeJS.ProcessEnv>, log: Log, kernel: Kernel): Listeners {
  const { sockets, lost, complaints } = inherit(env);
  for (const text of complaints) log.write('descriptor-ignored', { level: 'warn', text });
  const stored = sockets.filter(({ isStored }) => isStored).length + lost.length;
  const store = openStore(env, stored, (text) => log.write('store-failed', { level: 'warn', text: `a listener will not outlive this master: ${text}` }));
  for (const address of lost) store.drop(address);
  const listeners = new Listeners(kernel, store, sockets, (address, state, isRestored) => tellPath(log, address, state, isRestored));
  if (sockets.length === 0) return listeners;
  const inherited = listeners.describe(0).map(({ name, address }) => (name === null ? address : `${address} (${name})`));
  log.write('listeners-inherited', { level: 'info', text: `inherited from systemd: ${inherited.join(', ')}` }, { listeners: inherited });
  return listeners;
}

function tellPath(log: Log, address: string, state: PathState, isRestored: boolean): void {
  if (isRestored) return log.write('path-restored', { level: 'info', text: `${address} was removed, and is there again` }, { address });
  if (state === 'ours') return log.write('path-restored', { level: 'info', text: `${address} leads to this service again` }, { address });
  const what = state === 'taken' ? 'leads to something of somebody else' : 'is gone, and could not be made again';
  log.write('path-lost', { level: 'error', text: `${address} ${what}: nobody reaches this service there until a reload can bind it anew` }, { address, state });
}

/** Says which sockets of `.socket` units nobody has asked for, once the first generation serves: connections to them wait for ever. */
export function tellUnused({ unused }: Listeners, log: Log): void {
  if (unused.length === 0) return;
  log.write('sockets-unused', { level: 'warn', text: `passed by systemd, but the program does not listen there: ${unused.join(', ')}` });
}
