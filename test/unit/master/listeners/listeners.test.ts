import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Grant } from '../../../../src/master/listeners/grant.ts';
import type { InheritedSocket } from '../../../../src/master/listeners/inherited.ts';
import { Listeners } from '../../../../src/master/listeners/listeners.ts';
import { bindDatagramHandle } from '../../../../src/node/datagram.ts';
import { bindHandle, type ListenHandle, portOf } from '../../../../src/node/handle.ts';

const host = '127.0.0.1';
const noStore = { keep: () => false, drop() {} };
const everybody = { generations: [1], workers: [1, 2], isAwaited: true };

function makeListeners(inherited: readonly InheritedSocket[] = []): Listeners & Disposable {
  const listeners = new Listeners({ bind: bindHandle, bindDatagram: bindDatagramHandle }, noStore, inherited);
  listeners.settle(everybody);
  return Object.assign(listeners, { [Symbol.dispose]: () => listeners.close() });
}

let lastId = 0;

/** As a program's `listen` asks for it. */
async function listen(listeners: Listeners, worker: number, port: number, index = 0): Promise<Grant & { readonly id: number; readonly port: number }> {
  const id = ++lastId;
  const asked = { isDatagram: false, address: host, port, addressType: 4, flags: 0, backlog: 511, index, isFinal: false };
  const grant = await listeners.grant({ ...asked, readableAll: false, writableAll: false, umask: null, serverData: null }, { worker, id }, undefined);
  return { ...grant, id, port: grant.handle ? portOf(grant.handle) : 0 };
}

/** Listens on any free port, closes it, and listens on it by its number, as tools that look for a free one do. */
async function findPort(listeners: Listeners, worker: number): Promise<number> {
  const probe = await listen(listeners, worker, 0);
  await listeners.release({ worker, id: probe.id });
  const own = await listen(listeners, worker, probe.port);
  assert.equal(own.errno, 0);
  return own.port;
}

test('A free port that a program finds for itself is the one that its successor finds, and no address that a reload could miss', async () => {
  using listeners = makeListeners();
  const port = await findPort(listeners, 1);
  assert.equal(await findPort(listeners, 2), port);
  assert.deepEqual([listeners.addressesOf(1), listeners.addressesOf(2)], [[], []]);
  assert.equal(listeners.describe(1).length, 1);
});

test('Of the free ports that a program has tried, the last ones are remembered', async () => {
  using listeners = makeListeners();
  const tried: Awaited<ReturnType<typeof listen>>[] = [];
  for (let index = 0; index < 100; index++) tried.push(await listen(listeners, 1, 0, index));
  for (const { id } of tried) await listeners.release({ worker: 1, id });
  const ports = [tried[0], tried[99]].map((one) => one?.port ?? 0);
  for (const port of ports) await listen(listeners, 1, port);
  assert.deepEqual(listeners.addressesOf(1), [`${host}:${ports[0]}`]);
});

test('What a program closes is let go of at once, though the dead had it, too; what the configuration names is not', async () => {
  using listeners = makeListeners();
  await listeners.hold([{ kind: 'tcp', host, port: 0, name: null }], 1);
  const [named] = listeners.describe(1);
  const port = Number(named?.address.split(':')[1]);
  const [one, two, other] = [await listen(listeners, 1, port), await listen(listeners, 2, port), await listen(listeners, 1, 0, 1)];
  await listen(listeners, 2, other.port);
  listeners.settle({ ...everybody, workers: [1] });
  assert.equal(listeners.describe(1).length, 2, 'who takes the place of a dead worker may ask for what it had');
  for (const { id, worker } of [
    { ...one, worker: 1 },
    { ...two, worker: 2 },
    { ...other, worker: 1 },
  ])
    await listeners.release({ worker, id });
  assert.deepEqual(listeners.describe(1), [named]);
});

test('The socket of a unit is never closed', async () => {
  const handle = bindHandle(host, 0, 4, 0) as ListenHandle;
  const address = { isDatagram: false, address: host, port: portOf(handle), addressType: 4, flags: 0, index: 0 };
  const listeners = makeListeners([{ handle, address, name: 'web', isStored: false }]);
  const { id, port } = await listen(listeners, 1, address.port);
  assert.equal(port, address.port);
  await listeners.release({ worker: 1, id });
  listeners.settle({ generations: [2], workers: [], isAwaited: false });
  assert.equal(listeners.describe(1).length, 1);
  assert.ok((handle.fd ?? -1) >= 0);
  handle.close();
});
