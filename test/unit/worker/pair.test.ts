/** A connection of a process with itself is its own, whoever else knocks. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { test } from 'node:test';
import { makePair } from '../../../src/node/pair.ts';

/** Ports of 127.0.0.1 on which somebody listens, as the kernel has them. */
function listeningPorts(): number[] {
  return [...readFileSync('/proc/self/net/tcp', 'utf8').matchAll(/ 0100007F:(\w{4}) \w+:0000 0A /g)].map(([, port]) => Number.parseInt(port as string, 16));
}

test('somebody who connects to the port first is not taken for us', async () => {
  const before = new Set(listeningPorts());
  const made = makePair(new AbortController().signal);
  for (const port of listeningPorts().filter((other) => !before.has(other))) {
    // by the time this has ended, it stands in the queue before our own connection
    spawnSync(process.execPath, ['-e', `require('net').connect(${port}, '127.0.0.1', () => process.exit())`]);
  }
  const { client, handle, port } = await made;
  const accepted = new Socket({ handle } as object);
  const received = new Promise((resolve) => accepted.once('data', (bytes) => resolve(bytes.toString())));
  client.write('it is me');
  assert.equal(await received, 'it is me');
  assert.equal(accepted.localPort, port);
  accepted.destroy();
  client.destroy();
});
