/**
 * The hook by which a program gets the master's datagram sockets.
 *
 * Undocumented, each tried on 20.20, 22.23, 24.21, 26.10; should one be missing, programs bind by themselves: they work, and a reload fails with the port in use, the
 * old generation serving on.
 * - the channel `udp.socket` announces each socket when it is made.
 * - `handle.lookup` resolves the host for `bind`, which goes on in its callback. There it asks whether `cluster.isWorker`, and if it is one, and the bind not
 *   exclusive, `cluster._getServer` for a handle, and does the rest itself: errors, `listening`, a socket that was closed meanwhile. So it is one for a part of that
 *   call in which nothing of the program runs.
 * - `handle.asyncReset(handle)` makes a handle one of the present async context: what comes in is told in that of the `bind`. Missing: in none.
 *
 * `socket.bindSync` (24.21, 26.10) can't wait for an answer: such a socket is its worker's own.
 */
import { AsyncResource } from 'node:async_hooks';
import type { Socket } from 'node:dgram';
import diagnostics from 'node:diagnostics_channel';
import { type DatagramHandle, type DatagramState, isIpv6, stateOf } from './datagram.ts';

/** How `bind` was called, understood and resolved. */
export interface BindQuery {
  readonly address: string;
  /** 0: any. */
  readonly port: number;
  readonly addressType: 4 | 6;
  /** UV_UDP_*. */
  readonly flags: number;
}

/** One bind that waits for its handle. */
export interface Binding {
  /** Lets the socket have it; one that was closed meanwhile closes it. */
  give(handle: DatagramHandle): void;
  /** Makes it fail with the very error that Node itself would give. */
  fail(errno: number): void;
  /** Lets Node bind by itself, as if there were no supervisor. */
  goAlone(): void;
}

type Ask = (socket: Socket, query: BindQuery, binding: Binding) => void;

/** As `cluster` is asked for a handle. */
interface Request {
  readonly options: { readonly address: string; readonly port: number | undefined; readonly flags: number };
  readonly answer: (errno: number, handle: DatagramHandle | null) => void;
}

interface InternalCluster {
  isWorker: boolean;
  /** A primary has none. */
  _getServer?(socket: Socket, options: Request['options'], answer: Request['answer']): void;
}

const UNBOUND = 0;
const BINDING = 1;

/** From now on `ask` is called for every bind that is not exclusive; where a program has not bound, `send` and `connect` do so exclusively. */
export function answerBinds(ask: Ask): void {
  diagnostics.subscribe('udp.socket', (message) => {
    const { socket } = message as { socket: Socket };
    const state = stateOf(socket);
    if (state) awaitBind(socket, state, ask);
  });
}

/** The first lookup of a socket is that of its bind. One that fails may be tried again. */
function awaitBind(socket: Socket, state: DatagramState, ask: Ask): void {
  const { handle } = state;
  if (!handle) return;
  const { lookup } = handle;
  handle.lookup = (host, callback) => {
    handle.lookup = lookup;
    if (state.bindState !== BINDING) return lookup.call(handle, host, callback);
    lookup.call(handle, host, (error, address) => {
      const orAgain = <T extends unknown[]>(run: (...args: T) => void) => orElse(run, () => state.bindState === UNBOUND && awaitBind(socket, state, ask));
      const goOn = orAgain(() => callback(error, address));
      const request = error ? goOn() : asWorkerOfCluster(handle, goOn);
      if (request) ask(socket, queryOf(socket, request), bindingOf({ ...request, answer: orAgain(request.answer) }, goOn));
    });
  };
}

/** The program hears of an error within `run`, and may throw another one. */
function orElse<T extends unknown[]>(run: (...args: T) => void, then: () => void): (...args: T) => void {
  return (...args) => {
    try {
      run(...args);
    } finally {
      then();
    }
  };
}

/** Runs the rest of a bind; one that is exclusive binds the handle, and tells the program. @returns what it asked for; undefined: nothing */
function asWorkerOfCluster(handle: DatagramHandle, run: () => void): Request | undefined {
  const cluster = process.getBuiltinModule('node:cluster') as unknown as InternalCluster;
  const { isWorker } = cluster;
  const { bind } = handle;
  let request: Request | undefined;
  const restore = () => {
    cluster.isWorker = isWorker;
    Reflect.deleteProperty(cluster, '_getServer');
    handle.bind = bind;
  };
  cluster.isWorker = true;
  cluster._getServer = (_socket, options, answer) => {
    request = { options, answer };
  };
  handle.bind = (...how) => {
    restore();
    return bind.apply(handle, how);
  };
  try {
    run();
  } finally {
    restore();
  }
  return request;
}

function queryOf(socket: Socket, { options: { address, port, flags } }: Request): BindQuery {
  return { address, port: Number(port ?? 0), addressType: isIpv6(socket) ? 6 : 4, flags };
}

/** The answer comes out of nowhere: what follows is to be in the async context of the `bind`. What the program throws when it hears of it is its own. */
function bindingOf({ answer }: Request, goAlone: () => void): Binding {
  const context = new AsyncResource('BIND');
  const later: typeof answer = (errno, handle) => {
    handle?.asyncReset?.(handle);
    process.nextTick(answer, errno, handle);
  };
  const tell: typeof answer = (errno, handle) => context.runInAsyncScope(later, null, errno, handle);
  return { give: (handle) => tell(0, handle), fail: (errno) => tell(errno, null), goAlone };
}
