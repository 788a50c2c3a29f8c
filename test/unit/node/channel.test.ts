/** Handles on their way to another process: what may be closed when, and which of them was lost. */
import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { closeSent, onHidden, sendHidden } from '../../../src/node/channel.ts';
import { type ConnectionHandle, takeFrom } from '../../../src/node/connection.ts';
import { DESCRIPTORS } from '../helpers/handle-receiver.ts';

const RECEIVER = fileURLToPath(new URL('../helpers/handle-receiver.ts', import.meta.url));

interface Receiver extends AsyncDisposable {
  readonly process: ChildProcess;
  /** What it has heard, in order. */
  readonly heard: unknown[];
  /** Resolves when it has heard that. */
  hears(body: unknown): Promise<void>;
}

async function startReceiver(): Promise<Receiver> {
  const limited = ['-c', `ulimit -n ${DESCRIPTORS} && exec "$0" "$@"`, process.execPath, '--import', 'tsx'];
  const child = fork(RECEIVER, { execPath: '/bin/sh', execArgv: limited });
  const heard: unknown[] = [];
  onHidden(child, (body) => {
    heard.push((body as { heard: { id: unknown } }).heard.id);
    child.emit('heard');
  });
  assert.deepEqual(await once(child, 'message'), ['here', undefined]);
  return {
    process: child,
    heard,
    async hears(id) {
      while (!heard.includes(id)) await once(child, 'heard');
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exit = once(child, 'exit');
      child.kill('SIGKILL');
      await exit;
    },
  };
}

interface Pair {
  readonly near: Socket;
  /** Ends when nobody has the other side any more. */
  readonly far: Socket;
}

async function connectPair(): Promise<Pair> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const far = connect((server.address() as { port: number }).port, '127.0.0.1');
  const [near] = (await once(server, 'connection')) as [Socket];
  server.close();
  return { near, far };
}

async function makeHandle(): Promise<{ readonly handle: ConnectionHandle; readonly far: Socket }> {
  const { near, far } = await connectPair();
  return { handle: takeFrom(near), far };
}

/** Sends until nothing more can be written to a process that does not read. */
function fill(child: ChildProcess): void {
  while (child.send('x'.repeat(10_000))) {}
}

async function ended(far: Socket): Promise<void> {
  far.resume();
  if (!far.readableEnded) await once(far, 'end');
}

test('a handle that is closed before a stopped process reads it arrives, and nothing behind it is stuck', async () => {
  await using receiver = await startReceiver();
  const [first, second] = [await makeHandle(), await makeHandle()];
  receiver.process.kill('SIGSTOP');
  fill(receiver.process);
  sendHidden(receiver.process, { id: 1 }, first.handle); // waits for the channel
  sendHidden(receiver.process, { id: 2 }, second.handle); // waits for the first one
  closeSent(first.handle);
  closeSent(second.handle);
  sendHidden(receiver.process, { id: 3 });
  receiver.process.kill('SIGCONT');
  await receiver.hears(3);
  assert.deepEqual(receiver.heard, [1, 2, 3]);
  await ended(first.far);
  await ended(second.far);
});

test('a handle that was sent to two processes is closed when it is written to both', async () => {
  await using stopped = await startReceiver();
  await using other = await startReceiver();
  const { handle, far } = await makeHandle();
  stopped.process.kill('SIGSTOP');
  fill(stopped.process);
  sendHidden(stopped.process, { id: 1 }, handle);
  sendHidden(other.process, { id: 1 }, handle);
  closeSent(handle);
  await other.hears(1);
  stopped.process.kill('SIGCONT');
  await stopped.hears(1);
  await ended(far);
});

test('handles that wait for a process are closed when it ends', async () => {
  await using receiver = await startReceiver();
  const [first, second] = [await makeHandle(), await makeHandle()];
  receiver.process.kill('SIGSTOP');
  fill(receiver.process);
  sendHidden(receiver.process, { id: 1 }, first.handle);
  sendHidden(receiver.process, { id: 2 }, second.handle);
  closeSent(second.handle);
  receiver.process.kill('SIGKILL');
  await once(receiver.process, 'exit');
  closeSent(first.handle);
  await ended(first.far);
  await ended(second.far);
});

test('a handle whose descriptor does not arrive is told as lost, whatever else the program sends', async () => {
  await using receiver = await startReceiver();
  const [arrives, lost] = [await makeHandle(), await makeHandle()];
  const [foreign, another] = [await connectPair(), await connectPair()];
  const told: number[] = [];
  sendHidden(receiver.process, { id: 1 }, arrives.handle, () => told.push(1));
  receiver.process.send('fill up', foreign.near); // it does so before it reads on
  sendHidden(receiver.process, { id: 2 }, lost.handle, () => told.push(2));
  receiver.process.send('lost as well', another.near); // Node sends it again, and warns
  sendHidden(receiver.process, { id: 3 });
  await receiver.hears(3);
  assert.deepEqual([receiver.heard, told], [[1, 3], [2]]);
  closeSent(arrives.handle);
  closeSent(lost.handle);
  for (const { far } of [arrives, lost, foreign, another]) await ended(far);
});
