/**
 * The runtime inside the user's process. It installs capture and drain, then keeps out of the way: the program sees neither our messages nor our
 * variable, and may end whenever it has nothing left to do.
 */
import { getSystemErrorName } from 'node:util';
import { toReport } from '../errors.ts';
import { type Handle, onHidden, sendHidden } from '../node/channel.ts';
import { endCluster } from '../node/cluster.ts';
import type { ConnectionHandle } from '../node/connection.ts';
import type { DatagramHandle } from '../node/datagram.ts';
import { ensureDisconnect } from '../node/disconnect.ts';
import { type ListenHandle, whenClosed, whenServerCloses } from '../node/handle.ts';
import { type OwnedFile, removeIfOurs } from '../owned-file.ts';
import { type DrainTimes, type FromWorker, type HealthFailure, nameRequest, type ToWorker, type WorkerIdentity } from '../protocol/worker.ts';
import { ticketTaker } from '../tickets.ts';
import { Capture } from './capture.ts';
import { type Datagrams, makeDatagrams } from './datagrams.ts';
import { shareInspector } from './debugged.ts';
import { type Drain, type DrainAccount, prepareDrain } from './drain.ts';
import { takeTerm } from './ending.ts';
import { guarded, onMistake, tellMistake } from './guard.ts';
import { prepareAdopter } from './handoff/adopter.ts';
import { type Mover, prepareMover } from './handoff/mover.ts';
import { followRaw } from './handoff/raw.ts';
import { makeRegistry } from './handoff/registry.ts';
import { plainOnly, prepareSecure, type SecureTransports } from './handoff/transports.ts';
import { prepareReadiness, type Readiness } from './readiness.ts';
import { publishRuntime } from './runtime.ts';
import { type Servers, watchServers } from './servers.ts';

interface Parts {
  readonly tell: (message: FromWorker) => void;
  readonly captured: Capture;
  readonly drain: Drain;
  readonly ready: () => void;
  readonly onAsked: () => void;
  readonly servers: Servers;
  readonly mover: Mover;
  readonly adopt: ReturnType<typeof prepareAdopter>;
  /** It serves, and may hang from now on. */
  readonly watch: () => void;
  /** Its resident memory in bytes; null where that can't be found out. */
  readonly measure: () => number | null;
}

const ORPHAN_TRIES = 50;
const ORPHAN_PAUSE_MS = 10;

/** Makes this process the worker that it was named. */
export function supervise(identity: WorkerIdentity): void {
  const { master, generation, index, waitReady, preflight, tickets, watcher, times, listeners } = identity;
  let files: readonly OwnedFile[] = [];
  const tell = (message: FromWorker, handle?: ConnectionHandle, onLost?: () => void) => sendHidden(process, message, handle, onLost);
  onMistake((text) => tell({ type: 'notice', text }));
  const servers = watchServers();
  const secure = identity.handoffTls ? prepareSecure({ keys: () => mover.succession.keys, tell, isSpokesman: index === 0 }) : undefined;
  const scope = { servers, registry: makeRegistry(), transports: secure ?? plainOnly };
  servers.onTracked = guarded((server, socket) => followRaw(scope.registry, server, socket));
  const mover = prepareMover({ ...scope, tell });
  const datagrams = makeDatagrams();
  const drain = prepareDrain({ ...scope, mover, datagrams }, tellAccount(tell), (drainTimes, isTold) => {
    process.channel?.unref(); // the master may still owe an answer, which nobody waits for any more
    ending.end({ times: drainTimes, departed: mover.departed, isTold, onLinger: (what) => tellLinger(tell, drainTimes, what) });
  });
  drain.addHook(endCluster);
  const readiness = prepareReadiness({ terms: preflight, servers, drain, tell, onReady: () => secure?.onReady() });
  const ending = takeTerm((count) => (count === 1 ? drain.leave(times) : drain.hurry()));
  const { captured, ready, onAsked } = captureListens({ tell, drain, readiness, servers, datagrams, waitReady, secure });
  const takeTicket = ticketTaker(tickets, (skipped) => tell({ type: 'given-back', tickets: skipped }));
  const adopt = prepareAdopter({ ...scope, tell, takeTicket, isDraining: () => drain.hasBegun });
  const parts = { tell, captured, drain, ready, onAsked, servers, mover, adopt, watch: prepareWatch(watcher, tell), measure: prepareMeasure(tell) };
  hearMaster(parts, (made) => {
    files = made;
  });
  const onDisconnect = () => {
    drain.addHook(() => endAsOrphan(master, () => files));
    captured.abandon();
    mover.abandon(); // whether somebody has adopted what is in flight can't be known any more
    drain.begin(times, 'stop');
  };
  process.once('disconnect', guarded(onDisconnect)); // the master vanished, or the program let go of it: either way nobody will tell this worker to drain
  ensureDisconnect();
  shareInspector(drain);
  tellUncaught(tell);
  publishRuntime({ ...scope.registry, generation, index, ready, preflight: readiness.add, onDrain: drain.addHook, listener: (name) => listeners[name] });
  process.channel?.unref();
}

/** `onFiles` is told those to remove should the master vanish. */
function hearMaster(parts: Parts, onFiles: (files: readonly OwnedFile[]) => void): void {
  const hear = guarded((message: ToWorker, handle: Handle | undefined) => {
    if (message.type === 'files') onFiles(message.files);
    else obey(message, handle, parts);
  });
  onHidden(process, (body, handle) => hear(body as ToWorker, handle));
}

function tellUncaught(tell: (message: FromWorker) => void): void {
  const onUncaught = guarded((error: Error) => tell({ type: 'failed', error: toReport(error) }));
  process.on('uncaughtExceptionMonitor', onUncaught);
}

interface Listens {
  readonly tell: (message: FromWorker) => void;
  readonly drain: Drain;
  readonly readiness: Readiness;
  readonly servers: Servers;
  readonly datagrams: Datagrams;
  readonly waitReady: boolean;
  readonly secure: SecureTransports | undefined;
}

/** What the program listens on, and what that says of its readiness. `ready`: the program says it. */
function captureListens({ tell, drain, readiness, servers, datagrams, waitReady, secure }: Listens): {
  captured: Capture;
  ready: () => void;
  onAsked: () => void;
} {
  const captured = new Capture({
    servers,
    datagrams,
    ask: (id, query) => tell({ type: 'listen', id, ...query }),
    tellClosed: (id) => tell({ type: 'closed', id }),
    tellMembership: (id, membership, isMember) => tell({ type: 'membership', id, isMember, ...membership }),
    holdsBack: () => readiness.isGuarded,
    hasStarted: () => readiness.isSaid,
    isDraining: () => drain.hasBegun,
    onChange: () => (captured.isWaiting ? process.channel?.ref() : process.channel?.unref()),
  });
  const ready = () => captured.confirm(() => readiness.ready());
  // several listens in a row are one, and one that was closed again was none: ready is the worker whose last one was answered while some server listens
  const areServing = () => servers.areServing || datagrams.areServing;
  const readyIfServing = () => captured.isAsking || captured.confirm(() => areServing() && readiness.ready());
  readiness.onSaid = () => captured.isAdmitted && captured.admit(); // a server that was taken for none was held back until now
  const onAsked = () => captured.isWaiting || areServing() || readiness.readyUnlessServer();
  const tellListening = guarded(followListening(areServing, tell));
  const later = guarded(() => void readyIfServing());
  const onServing = (whenGone: (then: () => void) => void) => {
    tellListening();
    whenGone(() => queueMicrotask(tellListening));
    if (!waitReady) setImmediate(later);
  };
  servers.onListening = guarded((server) => {
    secure?.onListening(server);
    onServing((then) => whenServerCloses(server, then));
  });
  datagrams.onBound = guarded((handle) => onServing((then) => whenClosed(handle, then)));
  return { captured, ready, onAsked };
}

/** Says whether the program serves anywhere whenever that has changed. */
function followListening(areServing: () => boolean, tell: (message: FromWorker) => void): () => void {
  let isListening = false;
  return () => {
    if (areServing() === isListening) return;
    isListening = !isListening;
    tell({ type: 'listening', isListening });
  };
}

function tellAccount(tell: (message: FromWorker) => void): DrainAccount {
  return {
    onWithdrew: () => tell({ type: 'withdrew' }),
    onDrained: (closed, cut) => tell({ type: 'drained', closed, cut }),
    onNotice: (text) => tell({ type: 'notice', text }),
  };
}

/** Else a stop would take its time in silence. */
function tellLinger(tell: (message: FromWorker) => void, { lingerMs }: DrainTimes, what: string): void {
  const text = `has no SIGTERM listener to end it, and something keeps its event loop: ${what}; it is waited for, ${lingerMs / 1000} s at most (--linger)`;
  tell({ type: 'notice', text, level: 'info' });
}

/** Does what the master says. */
function obey(message: Exclude<ToWorker, { type: 'files' }>, handle: Handle | undefined, parts: Parts): void {
  const { tell, captured, drain, ready, onAsked, servers, mover, adopt, watch, measure } = parts;
  switch (message.type) {
    case 'listener':
      return captured.onReply(message, handle as ListenHandle | DatagramHandle | undefined);
    case 'let-go':
      return captured.onLetGo(message.id);
    case 'admit': {
      const errno = captured.admit();
      return tell(errno === 0 ? { type: 'admitted' } : { type: 'admit-failed', error: toReport(new Error(`listen: ${getSystemErrorName(errno)}`)) });
    }
    case 'drain':
      mover.succession.set(message.successors);
      return drain.begin(message.times, message.reason);
    case 'successors':
      return mover.succession.set(message);
    case 'adopt':
      return adopt(message, handle);
    case 'moved':
      return mover.onMoved(message.id);
    case 'stay':
      return mover.onStay(message);
    case 'hurry':
      return drain.hurry();
    case 'examine':
      watch();
      return tell({ type: 'vitals', id: message.id, connections: servers.count(), rssBytes: measure() });
    case 'said-ready':
      return ready();
    case 'is-quiet':
      return onAsked();
    case 'check':
      return void check(servers, message).then((failure) => tell({ type: 'checked', id: message.id, failure }));
  }
}

/** @returns starts the thread that tells where this one hangs, once; late, since most of those that start serve before they hang */
function prepareWatch(watcher: number | null, tell: (message: FromWorker) => void): () => void {
  let isDone = watcher === null;
  return () => {
    if (isDone || watcher === null) return;
    isDone = true;
    void import('./watcher.ts').then(({ startWatcher }) => startWatcher(watcher, (text) => tell({ type: 'notice', text }))).catch(tellMistake);
  };
}

/** Where no descriptor is left, or no /proc is there, it can't be read; why is told once, until it can. */
function prepareMeasure(tell: (message: FromWorker) => void): () => number | null {
  let hasFailed = false;
  return () => {
    try {
      const rssBytes = process.memoryUsage.rss();
      hasFailed = false;
      return rssBytes;
    } catch (error) {
      const isFull = ['EMFILE', 'ENFILE'].includes(toReport(error).code ?? '');
      const text = isFull ? 'has no descriptor left: until it has, connections that reach it are closed (ulimit -n, LimitNOFILE=)' : '';
      if (!hasFailed) tell({ type: 'notice', text: text || `can't tell how much memory it uses: ${toReport(error).message}` });
      hasFailed = true;
      return null;
    }
  };
}

async function check(servers: Servers, terms: Extract<ToWorker, { type: 'check' }>): Promise<HealthFailure | null> {
  try {
    const { probe } = await import('./probe.ts');
    return await probe({ servers, userAgent: 'graceful-super/health' }, terms);
  } catch (error) {
    return { request: terms.requests.map(nameRequest).join(', '), error: toReport(error).message };
  }
}

/** What the master can no longer do. */
async function endAsOrphan(master: number, files: () => readonly OwnedFile[]): Promise<void> {
  if (!(await isOrphaned(master))) return;
  for (const file of files()) removeIfOurs(file);
  process.once('exit', () => process.kill(-process.pid, 'SIGTERM')); // its children
}

/** A dying master's channels close a moment before its children get another parent. */
async function isOrphaned(master: number): Promise<boolean> {
  for (let tries = 0; tries < ORPHAN_TRIES && process.ppid === master; tries++) {
    await new Promise((resolve) => setTimeout(resolve, ORPHAN_PAUSE_MS));
  }
  return process.ppid !== master;
}
