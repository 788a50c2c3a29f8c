/**
 * The one place that listens to signals, and to what nobody else caught. Imported first of all: the default action of most of them is to die, and one may
 * come while the rest of the master is still being loaded. What comes early is kept.
 */

type Signal = 'SIGHUP' | 'SIGTERM' | 'SIGINT' | 'SIGUSR1' | 'SIGUSR2' | 'SIGTTIN' | 'SIGTTOU';

const signals: readonly Signal[] = ['SIGHUP', 'SIGTERM', 'SIGINT', 'SIGUSR1', 'SIGUSR2', 'SIGTTIN', 'SIGTTOU'];
const early: Signal[] = [];
let handle: (signal: Signal) => void = (signal) => early.push(signal);
const listener = (signal: NodeJS.Signals) => handle(signal as Signal);

/** Keeps every signal until somebody wants it. */
export function holdSignals(): void {
  for (const signal of signals) process.on(signal, listener);
}

/** Hands over the signals, the early ones first. */
export function onSignal(handler: (signal: Signal) => void): void {
  handle = handler;
  for (const signal of early.splice(0)) handler(signal);
}

/**
 * A fault of ours, or garbage that a worker wrote into its channel (Node's parser throws): told, and survived. The services
 * must not end because of it.
 */
export function onFault(tell: (error: unknown) => void): void {
  process.on('uncaughtException', tell);
}

/** Restores the default actions; a signal that came meanwhile has its effect now. */
export function releaseSignals(): void {
  for (const signal of signals) process.off(signal, listener);
  for (const signal of early.splice(0)) process.kill(process.pid, signal);
}
