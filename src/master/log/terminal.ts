/**
 * The standard error output of the master, which may be a terminal. Under `stty tostop` a write from the background sends SIGTTOU, and where that is listened to,
 * as here, the kernel begins the write anew, for ever. A process of another session is free of that, as workers are: in the background, `cat` writes for us.
 */
import { spawn } from 'node:child_process';
import { Writable } from 'node:stream';
import { readProcessStat } from '../../process-stat.ts';

let output: Writable | undefined;

/** Where the master writes to. */
export function errorOutput(): Writable {
  output ??= process.stderr.isTTY ? openTerminal(process.stderr) : process.stderr;
  return output;
}

function openTerminal(terminal: Writable): Writable {
  let writer: Writable | undefined;
  terminal.on('error', () => {}); // EIO: it is gone
  return new Writable({
    decodeStrings: false,
    write(text: string, _encoding, done) {
      if (isInBackground()) writer ??= startWriter();
      const into = isInBackground() ? writer : terminal;
      into?.write(text, () => done()); // what could not be written is lost
    },
  });
}

/** It ends with its input, so with the master. */
function startWriter(): Writable {
  const child = spawn('cat', { detached: true, stdio: ['pipe', 2, 'ignore'] });
  child.on('error', () => {}); // ENOENT
  child.unref();
  const input = child.stdin as Writable;
  input.on('error', () => {}); // EPIPE
  return input;
}

/** Another process group has the terminal. */
function isInBackground(): boolean {
  try {
    const { group, terminal, foreground } = readProcessStat('self');
    return terminal !== 0 && group !== foreground;
  } catch {
    return false; // without /proc it can't be told
  }
}
