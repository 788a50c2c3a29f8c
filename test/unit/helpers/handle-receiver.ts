/** A process that takes what comes over its channel: it closes each handle at once, and tells what it has heard. */
import { openSync } from 'node:fs';
import { Socket } from 'node:net';
import { onHidden, sendHidden } from '../../../src/node/channel.ts';

/** So few descriptors it may have. */
export const DESCRIPTORS = 64;

if (process.send !== undefined) {
  onHidden(process, (body, handle) => {
    handle?.close();
    sendHidden(process, { heard: body });
  });
  process.on('message', (message, handle) => {
    if (handle instanceof Socket) handle.destroy();
    if (message === 'fill up') while (canOpen()) {}
  });
  process.send('here');
}

function canOpen(): boolean {
  try {
    return openSync('/dev/null', 'r') > 0;
  } catch {
    return false; // EMFILE
  }
}
