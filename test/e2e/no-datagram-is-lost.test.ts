/** Programs that bind a UDP port lose no datagram, neither at a reload nor by the death of anybody but who was about to answer it. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { test } from 'node:test';
import { type Answer, askDatagram, assertAllAnswered, freePort, openSender, type Sender, startTraffic } from '../helpers/datagrams.ts';
import { startDeployed } from '../helpers/releases.ts';
import { type Rig, type RigOptions, startMaster } from '../helpers/rig.ts';

const host = '127.0.0.1';
const script = 'answers-datagrams.cjs';

/** A master whose program answers datagrams at a port of its own. */
async function start(options: Partial<RigOptions> = {}): Promise<{ rig: Rig; port: number }> {
  const port = await freePort();
  return { port, rig: await startMaster({ script, ...options, args: [host, String(port)] }) };
}

test('Twenty senders over eight reloads: each datagram is answered once, from the address that it was sent to', async () => {
  const { rig: master, port } = await start();
  await using rig = master;
  const traffic = await startTraffic(port);
  for (let reload = 0; reload < 8; reload++) {
    await traffic.more(100);
    assert.equal((await rig.hup())['outcome'], 'committed');
  }
  await traffic.more(100);
  const seen = await traffic.stop();
  assertAllAnswered(seen);
  assert.equal(seen.pids.size, 9, 'all nine workers have answered');
  assert.deepEqual(rig.addresses(), [`udp:${host}:${port}`]);
});

test('So it is with several workers, each datagram going to one of them', async () => {
  const { rig: master, port } = await start({ flags: ['--workers', '3'] });
  await using rig = master;
  const traffic = await startTraffic(port);
  for (let reload = 0; reload < 2; reload++) {
    await traffic.more(200);
    assert.equal((await rig.hup())['outcome'], 'committed');
  }
  await traffic.more(200);
  const seen = await traffic.stop();
  assertAllAnswered(seen);
  assert.ok(seen.pids.size > 3);
});

test('Over IPv6, too', async () => {
  const port = await freePort('::1');
  await using rig = await startMaster({ script, args: ['::1', String(port), 'udp6'] });
  const traffic = await startTraffic(port, 5, '::1');
  assert.equal((await rig.hup())['outcome'], 'committed');
  await traffic.more(50);
  assertAllAnswered(await traffic.stop());
  assert.deepEqual(rig.addresses(), [`udp:[::1]:${port}`]);
});

test('An old worker that receives no more sends what it owes, from the same address, before its program cleans up', async () => {
  const { rig: master, port } = await start();
  await using rig = master;
  const [old = 0] = await rig.pids();
  await using sender = await openSender();
  assert.equal((await sender.ask(port, 'hold')).text, `${old} wait`);
  assert.equal((await rig.hup())['outcome'], 'committed');
  const [next] = await rig.pids();
  for (let number = 0; number < 20; number++) assert.equal((await askDatagram(port)).text, `${next} hello`);
  process.kill(old, 'SIGUSR2');
  const { text, from } = await last(sender);
  assert.deepEqual([text, from.address, from.port], [`${old} held`, host, port]);
});

/** What follows on the waiting. */
async function last(sender: Sender): Promise<Answer> {
  for (;;) {
    const answer = await sender.next();
    if (!answer.text.endsWith(' wait')) return answer;
  }
}

test('What waits while no worker reads is read by the next one: the death of a worker loses nothing of it', async () => {
  const { rig: master, port } = await start();
  await using rig = master;
  const [pid = 0] = await rig.pids();
  process.kill(pid, 'SIGSTOP');
  await using sender = await openSender();
  for (let number = 0; number < 50; number++) sender.send(port, String(number));
  rig.forget();
  process.kill(pid, 'SIGKILL');
  await rig.until('worker-serving');
  const [next] = await rig.pids();
  for (let number = 0; number < 50; number++) assert.equal((await sender.next()).text, `${next} ${number}`);
});

test('New workers that are killed before they serve have received nothing', async () => {
  const { rig: master, port } = await start();
  await using rig = master;
  const traffic = await startTraffic(port, 5);
  for (let reload = 0; reload < 3; reload++) {
    rig.forget();
    rig.signal('SIGHUP');
    const { pid } = await rig.until('worker-spawned');
    process.kill(pid as number, 'SIGKILL');
    assert.equal((await rig.until('reload-finished'))['outcome'], 'rolled-back');
  }
  await traffic.more(50);
  assertAllAnswered(await traffic.stop());
});

test('An old worker that is killed while it drains loses at most what it owes', async () => {
  const { rig: master, port } = await start();
  await using rig = master;
  const [old = 0] = await rig.pids();
  rig.forget();
  rig.signal('SIGHUP');
  await rig.until('reload-committed');
  process.kill(old, 'SIGKILL');
  const traffic = await startTraffic(port, 5);
  await traffic.more(50);
  assertAllAnswered(await traffic.stop());
});

test('Workers of a master that was killed answer what they have received, and end', async () => {
  const { rig, port } = await start();
  const [pid = 0] = await rig.pids();
  await using sender = await openSender();
  await sender.ask(port, 'hold');
  process.kill(rig.pid, 'SIGKILL');
  await once(rig.child, 'exit');
  process.kill(pid, 'SIGUSR2');
  assert.equal((await last(sender)).text, `${pid} held`);
  await rig.gone();
  rmSync(rig.runtimeDir, { recursive: true });
});

test('New code that dies on probation gives way to the old code, which receives all the time; lost is what the new one had received', async () => {
  const port = await freePort();
  await using deployed = await startDeployed([script], { args: [host, String(port)], env: { GRACEFUL_SUPER_PROBATION: '60s' } });
  const { rig } = deployed;
  const traffic = await startTraffic(port, 5);
  deployed.deploy('two', 'dies-of-datagram.cjs');
  assert.equal((await rig.hup())['outcome'], 'rolled-back');
  await traffic.more(50);
  const { lost, doubled, astray } = await traffic.stop(1);
  assert.deepEqual([lost.length, doubled, astray], [1, [], []]);
});
