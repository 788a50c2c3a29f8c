/**
 * A line in a channel that has no end.
 *
 * Undocumented: Node gathers what it has read of a message in a property of the channel's handle, under a symbol called `kJSONBuffer`, without a limit. The handle itself
 * is found among those that are active. Tried on 20.20, 22.23, 24.21, 26.10. Where either is missing, there is no limit, as without us.
 */
import type { ChildProcess } from 'node:child_process';

interface ChannelHandle {
  onread(...args: unknown[]): void;
  buffering?: boolean;
  readonly [symbol: symbol]: unknown;
}

const seen = new WeakSet<object>();
const channels = new WeakMap<ChildProcess, ChannelHandle>();

/** To be called at once after the fork: of several channels it is the one that was not there before. */
export function rememberChannel(child: ChildProcess): void {
  const active = (process as { _getActiveHandles?: () => object[] })._getActiveHandles?.() ?? [];
  for (const handle of active) {
    if (seen.has(handle) || bufferOf(handle) === undefined) continue;
    seen.add(handle);
    channels.set(child, handle as ChannelHandle);
  }
}

/** `tell` is called when a message has more characters than that and no end yet; a disconnect is possible then. */
export function limitLines(child: ChildProcess, most: number, tell: () => void): void {
  const handle = channels.get(child);
  const buffer = handle && bufferOf(handle);
  if (handle === undefined || buffer === undefined) return;
  const { onread } = handle;
  handle.onread = function (this: ChannelHandle, ...args) {
    Reflect.apply(onread, this, args);
    const text = this[buffer];
    if (typeof text !== 'string' || text.length <= most) return;
    handle.buffering = false; // a disconnect would wait for the end of the message
    tell();
  };
}

function bufferOf(handle: object): symbol | undefined {
  return Object.getOwnPropertySymbols(handle).find(({ description }) => description === 'kJSONBuffer');
}
