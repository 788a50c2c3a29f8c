import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { watchServers } from '../../../src/worker/servers.ts';

interface Asked {
  readonly _handle: { getsockname(into: object): number; getpeername(into: object): number };
}

test('A connection is counted while it is open, without asking the kernel for its addresses', async (t) => {
  const servers = watchServers();
  const server = createServer();
  let asked = 0;
  server.on('connection', (socket: Socket) => {
    const { _handle: handle } = socket as unknown as Asked;
    for (const name of ['getsockname', 'getpeername'] as const) {
      const ask = handle[name];
      handle[name] = (into) => {
        asked++;
        return ask.call(handle, into);
      };
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  t.after(() => [client.destroy(), server.close()]);
  const [socket] = (await once(server, 'connection')) as [Socket];
  assert.equal(servers.count(), 1);
  assert.equal(asked, 0);
  assert.equal(socket.localPort, (server.address() as AddressInfo).port);
  assert.equal(asked, 1, 'it would have been noticed');
  client.destroy();
  socket.resume();
  await once(socket, 'close');
  assert.equal(servers.count(), 0);
});

test('A connection whose program has removed every listener, or has given it to a child, is counted no longer than it is there', async (t) => {
  const servers = watchServers();
  const server = createServer((socket) => socket.removeAllListeners().on('error', () => {}));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const dial = () => connect((server.address() as AddressInfo).port, '127.0.0.1');
  const clients = [dial(), dial()];
  t.after(() => [...clients.map((client) => client.destroy()), server.close()]);
  const accepted: (Socket & { _handle: { close(): void } | null })[] = [];
  server.on('connection', (socket: Socket) => accepted.push(socket as (typeof accepted)[0]));
  while (accepted.length < 2) await once(server, 'connection');
  assert.equal(servers.count(), 2);
  const [ended, given] = accepted as [(typeof accepted)[0], (typeof accepted)[0]];
  ended.destroy();
  assert.equal(servers.count(), 1);
  given._handle?.close(); // what `subprocess.send` does
  given._handle = null;
  assert.equal(servers.count(), 0);
  assert.equal(servers.areEmpty(), true);
});

test('A server is seen whose program removes its listeners before it listens, and after', async (t) => {
  const servers = watchServers();
  const server = createServer().removeAllListeners();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  server.removeAllListeners();
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  t.after(() => client.destroy());
  await once(server, 'connection');
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(servers.count(), 1);
  server.close();
  assert.equal(servers.list().length, 1, 'it still has a connection');
  client.destroy();
  await once(server, 'close');
  assert.deepEqual(servers.list(), []);
});
