/** The example of the documentation does what it says. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { poll, type Rig, root, startMaster } from '../helpers/rig.ts';
import { dial, type Wire } from '../helpers/wire.ts';

const script = join(root, 'docs/examples/echo-worker.js');
const host = '127.0.0.1';
const env = { ECHO_PORT: '0' };

test('It tells who connects and disconnects, and echoes', async () => {
  await using rig = await startMaster({ script, env });
  const [pid] = await rig.pids();
  const prefix = `\\[echo ${pid}, generation 1\\]`;
  assert.match(rig.stdout, new RegExp(`^${prefix} listening on ${host}:${rig.port()}$`, 'm'));
  using wire = await dial({ port: rig.port(), host });
  const address = `${host}:${wire.socket.localPort}`;
  wire.write('hello');
  await wire.until('hello');
  await printed(rig, `${prefix} ${address} connected`);
  wire.socket.end();
  assert.equal(await wire.end(), 'FIN');
  await printed(rig, `${prefix} disconnecting ${address}`);
});

test('At a reload its clients stay connected, and the new generation answers them', async () => {
  await using rig = await startMaster({ script, env });
  const [oldPid] = await rig.pids();
  const wires = await Promise.all(Array.from({ length: 10 }, () => dial({ port: rig.port(), host })));
  for (const wire of wires) {
    wire.write('hello');
    await wire.until('hello');
  }
  await rig.hup();
  const [newPid] = await rig.pids();
  const { moved, closed, cut } = await rig.until('worker-drained', ({ generation }) => generation === 1);
  assert.deepEqual([moved, closed, cut], [{ tcp: 10 }, {}, {}]);
  for (const wire of wires) {
    const address = `${host}:${wire.socket.localPort}`;
    await printed(rig, `\\[echo ${oldPid}, generation 1\\] handing over ${address}`);
    await printed(rig, `\\[echo ${newPid}, generation 2\\] ${address} goes on here`);
    wire.write(' again');
    await wire.until(/^hello again$/);
    wire.socket.end();
    assert.equal(await wire.end(), 'FIN');
    await printed(rig, `\\[echo ${newPid}, generation 2\\] disconnecting ${address}`);
  }
});

test('At a reload what a client has not read yet is written by the old generation first', async () => {
  await using rig = await startMaster({ script, env });
  const client = await dialPaused(rig.port());
  client.write(Buffer.alloc(1_000_000, 'x'));
  await poll(
    () => queued(rig.port(), client).unread === 0 && client.writableLength === 0,
    () => 'the program does not read',
  );
  client.setEncoding('latin1');
  await rig.hup();
  client.write('y');
  let received = '';
  client.on('data', (text: string) => {
    received += text;
  });
  await poll(
    () => received.length > 1_000_000,
    () => `${received.length} bytes came back`,
  );
  client.destroy();
  assert.equal(received, `${'x'.repeat(1_000_000)}y`);
});

test('At a stop its clients are disconnected, also those that came with a reload', async () => {
  await using rig = await startMaster({ script, env });
  using wire = await dial({ port: rig.port(), host });
  await rig.hup();
  wire.write('hello');
  await wire.until('hello');
  rig.signal('SIGTERM');
  assert.equal(await wire.end(), 'FIN');
  wire.socket.destroy();
  assert.equal((await rig.finished).code, 0);
  assert.match(rig.stdout, new RegExp(`generation 2\\] disconnecting ${host}:\\d+\n$`));
});

test('At a stop everything that was read is written: 1 MB', async () => {
  await using rig = await startMaster({ script, env });
  const client = await dialPaused(rig.port());
  client.write(Buffer.alloc(1_000_000, 'x'));
  await poll(
    () => queued(rig.port(), client).unread === 0 && client.writableLength === 0,
    () => 'the program does not read',
  );
  await stopAndCount(rig, client, 1_000_000);
});

test('At a stop everything that was read is written, though the client has not read for long', async () => {
  await using rig = await startMaster({ script, env });
  const client = await dialPaused(rig.port());
  const part = Buffer.alloc(4096, 'x');
  let sent = 0;
  const send = () =>
    client.write(part, (error) => {
      if (error) return;
      sent += part.length;
      send();
    });
  send();
  let [before, same] = ['', 0];
  await poll(
    () => {
      const now = JSON.stringify([queued(rig.port(), client), sent]);
      same = now === before ? same + 1 : 0;
      before = now;
      return same >= 10; // nothing moves any more: every buffer on the way is full
    },
    () => 'it does not come to a halt',
  );
  const { unread } = queued(rig.port(), client);
  assert.ok(unread > 0);
  await stopAndCount(rig, client, sent - unread);
});

test('It runs as a plain program too', async () => {
  const child = spawn(process.execPath, [script], { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (more: string) => {
    text += more;
  });
  const ended = new Promise((resolve) => child.once('close', (code, signal) => resolve([code, signal])));
  await poll(
    () => /listening on 127\.0\.0\.1:\d+\n/.test(text),
    () => text,
  );
  using wire: Wire = await dial({ port: Number(/:(\d+)\n/.exec(text)?.[1]), host });
  wire.write('hello');
  await wire.until('hello');
  child.kill('SIGTERM');
  assert.equal(await wire.end(), 'FIN');
  wire.socket.destroy();
  assert.deepEqual(await ended, [0, null]);
  assert.match(text, new RegExp(`generation 0\\] disconnecting ${host}:\\d+\n$`));
});

function printed(rig: Rig, line: string): Promise<true> {
  return rig.waitFor(() => new RegExp(`^${line}$`, 'm').test(rig.stdout) || undefined, line);
}

/** A client that does not read. */
function dialPaused(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket: Socket = connect({ port, host, allowHalfOpen: true }, () => resolve(socket));
    socket.once('error', reject);
  });
}

/** Bytes of a connection's client that the program has not read yet, as the kernel has them. */
function queued(port: number, { localPort }: Socket): { unread: number } {
  const filter = `( sport = :${localPort} and dport = :${port} ) or ( sport = :${port} and dport = :${localPort} )`;
  const lines = execFileSync('ss', ['-tnH', 'state', 'established', filter], { encoding: 'utf8' }).trim().split('\n');
  const sums = lines.map((line) => {
    const [received, sent, local] = line.trim().split(/\s+/);
    return Number(local?.endsWith(`:${port}`) ? received : sent);
  });
  return { unread: sums.reduce((sum, bytes) => sum + bytes, 0) };
}

/** Stops the master; the client reads only then. */
async function stopAndCount(rig: Rig, client: Socket, atLeast: number): Promise<void> {
  rig.signal('SIGTERM');
  await rig.until('worker-draining');
  assert.equal((await rig.status()).workers.length, 1, 'the process lives as long as its connection');
  let received = 0;
  client.on('data', (data) => {
    received += data.length;
  });
  await new Promise((resolve, reject) => client.once('end', resolve).once('error', reject));
  client.destroy();
  assert.ok(received >= atLeast, `${received} bytes of ${atLeast} came back`);
  assert.equal((await rig.finished).code, 0);
  assert.match(rig.stdout, new RegExp(`disconnecting ${host}:\\d+\n$`));
}
