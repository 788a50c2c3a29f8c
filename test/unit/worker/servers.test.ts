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
