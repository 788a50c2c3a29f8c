/** Plays the part of systemd with `.socket` units: holds listening sockets that masters are started with, and never accepts. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { bindDatagramHandle, type DatagramHandle } from '../../src/node/datagram.ts';
import { bindHandle, type ListenHandle, portOf } from '../../src/node/handle.ts';

/** What is passed: a descriptor as it is, or an address to listen on; port 0: any. */
export type Passed = { readonly name?: string } & (
  | { readonly fd: number }
  | { readonly host: string; readonly port: number; readonly ipv6Only?: boolean; readonly isDatagram?: boolean }
  | { readonly path: string }
);

/** Sockets that outlive every master. */
export interface PassedSockets {
  /** Descriptors, in the order of what is passed. */
  readonly fds: readonly number[];
  /** 0 for what has none. */
  readonly ports: readonly number[];
  readonly env: NodeJS.ProcessEnv;
  [Symbol.dispose](): void;
}

/** Listens in a child that ends at once: in this process a listener would accept. */
const LISTEN = 'for (const fd of process.argv.slice(1)) require("net")._createServerHandle(null, null, null, +fd).listen(1234); process.reallyExit(0)';

export function passSockets(...passed: readonly Passed[]): PassedSockets {
  const handles = passed.map((one) => ('fd' in one ? null : bind(one)));
  const fds = passed.map((one, index) => ('fd' in one ? one.fd : (handles[index]?.fd as number)));
  const own = handles.flatMap((handle) => (handle === null || !('listen' in handle) ? [] : [handle.fd as number]));
  const listening = own.map((_, index) => String(index + 3));
  const { status } = spawnSync(process.execPath, ['-e', LISTEN, ...listening], { stdio: ['ignore', 'inherit', 'inherit', ...own] });
  assert.equal(status, 0);
  return {
    fds,
    ports: handles.map((handle) => (handle === null ? 0 : portOf(handle))),
    env: { LISTEN_FDS: String(passed.length), LISTEN_FDNAMES: passed.map(({ name }) => name ?? 'unknown').join(':') },
    [Symbol.dispose]() {
      for (const handle of handles) handle?.close();
    },
  };
}

function bind(one: Exclude<Passed, { fd: number }>): ListenHandle | DatagramHandle {
  const isIpv6 = 'host' in one && one.host.includes(':');
  const bindIt = 'host' in one && one.isDatagram ? bindDatagramHandle : bindHandle;
  const handle = 'path' in one ? bindHandle(one.path, -1, -1, 0) : bindIt(one.host, one.port, isIpv6 ? 6 : 4, one.ipv6Only ? 1 : 0);
  assert.ok(typeof handle !== 'number', `cannot bind ${JSON.stringify(one)}: ${handle}`);
  return handle;
}
