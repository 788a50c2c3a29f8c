import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  asleep,
  assertLostBy,
  calm,
  chance,
  EACH,
  FIRST_WINDOW,
  killSome,
  moment,
  moveAround,
  patient,
  reloadBegins,
  seed,
  sockets,
  total,
  type Victims,
  WINDOW,
} from '../helpers/chaos.ts';
import { type Client, Crowd } from '../helpers/crowd.ts';
import { descriptors, isRunning, poll, startMaster } from '../helpers/rig.ts';

/** Each kills one to four workers; pass a larger one to look for what is rare. */
const rounds = Number(process.env['KILL_ROUNDS'] ?? 30);
const script = 'counts-requests.mjs';

test(`Handoff survives kills: SIGKILL of old workers and of new ones, two of three at random moments, seed ${seed}`, async (context) => {
  await using rig = await startMaster({ script, flags: [...patient, '--workers', '3'] });
  using crowd = new Crowd(rig);
  const random = chance();
  const sum = { kills: 0, lost: 0, moved: 0 };
  for (let round = 0; round < rounds; round++) await killSome(rig, crowd, { random, sum, workers: 3, victims: ['old', 'new', 'both'][round % 3] as Victims });
  context.diagnostic(`seed ${seed}: ${JSON.stringify(sum)}, ${crowd.answers} answers`);
});

test(`Handoff survives kills: SIGKILL of the only successor, again while the old worker hands over to its replacement, seed ${seed}`, async (context) => {
  await using rig = await startMaster({ script, flags: [...patient, '--workers', '1'] });
  using crowd = new Crowd(rig);
  const random = chance(seed + 1);
  const sum = { kills: 0, lost: 0, moved: 0 };
  for (let round = 0; round < rounds / 2; round++) await killSome(rig, crowd, { random, sum, workers: 1, victims: 'new' });
  context.diagnostic(`seed ${seed}: ${JSON.stringify(sum)}, ${crowd.answers} answers`);
});

test('Handoff survives kills: a connection in flight outlives the worker it came from and the one it was sent to', async () => {
  await using rig = await startMaster({ script, flags: [...patient, '--workers', '2', '--probation', '2s'] });
  using crowd = new Crowd(rig);
  using rest = new Crowd(rig);
  const old = (await rig.pids()) as [number, number];
  // who is awake accepts: each of the old ones has enough
  for (const [each, busy] of [
    [crowd, old[1]],
    [rest, old[0]],
  ] as const) {
    using _ = asleep(busy);
    await each.fill(EACH);
  }
  rig.forget();
  rig.signal('SIGHUP');
  await rig.until('reload-probation');
  const [stopped, other] = rig.all('worker-serving').map(({ pid }) => pid as number) as [number, number];
  using sleeper = asleep(stopped);
  const before = sockets(rig.pid);
  await rig.until('reload-committed');
  await poll(
    () => sockets(rig.pid) === before + old.length * FIRST_WINDOW, // each of the old ones waits for the stopped one
    () => `the master holds ${sockets(rig.pid)} sockets, ${before} before`,
  );
  for (const pid of old) process.kill(pid, 'SIGKILL');
  await poll(
    () => !old.some(isRunning),
    () => 'they do not end',
  );
  process.kill(stopped, 'SIGKILL');
  sleeper.wake();
  await calm(rig, 2);
  for (const each of [crowd, rest]) {
    await assertLostBy(rig, each, new Set(old));
    await each.askAll();
    assert.deepEqual(each.mistakes, []);
  }
  const alive = [...crowd.clients, ...rest.clients].filter(({ isOpen }) => isOpen);
  assert.deepEqual([...new Set(alive.map(({ pid }) => pid))], [other], 'with the one that was neither stopped nor killed');
  assert.ok(alive.length >= old.length * FIRST_WINDOW, `${alive.length} live on`);
  assert.equal(total((await rig.until('generation-gone'))['moved']), alive.length, 'the account of the dead has those they had in flight');
});

test('Handoff survives kills: what a stopped successor was sent goes on in the old worker, and moves when it is awake again', async () => {
  await using rig = await startMaster({ script, flags: [...patient, '--probation', '1s'] });
  using crowd = new Crowd(rig);
  await crowd.fill(EACH);
  const [old] = (await rig.pids()) as [number];
  const masterBefore = descriptors(rig.pid).length;
  rig.forget();
  rig.signal('SIGHUP');
  const stopped = (await rig.until('worker-serving'))['pid'] as number;
  using sleeper = asleep(stopped);
  const before = sockets(stopped);
  await rig.until('reload-committed');
  crowd.talk();
  await rig.waitFor(() => crowd.clients.filter((client) => crowd.hasComeBack(client, old)).length >= WINDOW || undefined, 'connections that come back');
  await crowd.rest();
  await crowd.askAll();
  assert.deepEqual(crowd.mistakes, []);
  assert.ok(
    crowd.clients.every(({ isOpen, pid }) => isOpen && pid === old),
    'the old worker serves everybody',
  );
  crowd.talk();
  sleeper.wake();
  const { moved } = await rig.until('generation-gone');
  assert.deepEqual(moved, { http: EACH, tcp: EACH });
  await crowd.rest();
  await crowd.askAll();
  assert.deepEqual(crowd.mistakes, []);
  assert.ok(
    crowd.clients.every(({ isOpen, pid }) => isOpen && pid === stopped),
    'the awakened worker serves everybody',
  );
  await poll(
    () => sockets(stopped) === before + 2 * EACH && descriptors(rig.pid).length <= masterBefore,
    () => `left open: ${descriptors(stopped)}; in the master: ${descriptors(rig.pid)}`,
  );
});

test(`Handoff survives kills: SIGSTOP of one of two successors in the middle, then SIGCONT or SIGKILL, seed ${seed}`, async () => {
  await using rig = await startMaster({ script, flags: [...patient, '--workers', '2'] });
  using crowd = new Crowd(rig);
  const random = chance(seed + 2);
  for (let round = 0; round < 6; round++) {
    await crowd.fill(EACH);
    const old = await rig.pids();
    await reloadBegins(rig, old, random() < 0.7);
    const stopped = rig.all('worker-serving')[0]?.['pid'] as number;
    await moment(random() * 10);
    using sleeper = asleep(stopped);
    const asked = crowd.askAll();
    await poll(
      // it may have been stopped between taking one and telling so
      () => crowd.clients.filter((client) => client.waiting.length > 0 && crowd.ownerOf(client) !== stopped).length <= 1,
      () => 'the old workers do not answer all that the stopped one does not own',
    );
    const isKilled = round % 2 === 1;
    if (isKilled) process.kill(stopped, 'SIGKILL');
    sleeper.wake();
    await asked;
    crowd.talk();
    await calm(rig, 2);
    await crowd.rest();
    await crowd.askAll();
    const lost = await assertLostBy(rig, crowd, new Set([stopped]));
    if (!isKilled) assert.equal(lost, 0);
  }
});

test(`Handoff survives kills: SIGSTOP of the old worker in the middle, and SIGCONT, seed ${seed}`, async () => {
  await using rig = await startMaster({ script, flags: patient });
  using crowd = new Crowd(rig);
  const random = chance(seed + 3);
  for (let round = 0; round < 6; round++) {
    await crowd.fill(EACH);
    const [old] = (await rig.pids()) as [number];
    await reloadBegins(rig, [old], random() < 0.7);
    await moment(random() * 10);
    using sleeper = asleep(old);
    const asked = crowd.askAll();
    using others = new Crowd(rig);
    await others.fill(1); // served by the new one meanwhile
    sleeper.wake();
    await asked;
    const [pid] = await calm(rig, 1);
    await crowd.askAll();
    assert.equal(await assertLostBy(rig, crowd, new Set()), 0);
    assert.ok(crowd.clients.every((client) => client.pid === pid));
  }
});

test('Handoff survives kills: bursts of SIGHUP while connections move', async () => {
  await using rig = await startMaster({ script, flags: [...patient, '--workers', '2'] });
  using crowd = new Crowd(rig);
  const random = chance(seed + 4);
  await crowd.fill(EACH);
  for (let round = 0; round < 5; round++) {
    const old = await rig.pids();
    crowd.talk();
    await reloadBegins(rig, old, random() < 0.5);
    for (let more = 0; more < 5; more++) {
      await moment(random() * 10);
      rig.signal('SIGHUP');
    }
    await rig.until('reload-queued');
    await rig.until('reload-committed', ({ generation }) => generation === (rig.all('reload-committed')[0]?.['generation'] as number) + 1);
    const pids = await calm(rig, 2);
    await crowd.rest();
    await crowd.askAll();
    assert.equal(await assertLostBy(rig, crowd, new Set()), 0);
    assert.ok(crowd.clients.every(({ isOpen, pid }) => isOpen && pids.includes(pid)));
  }
});

test(`Handoff survives kills: SIGKILL and SIGTERM of the master in the middle; the workers finish and end, seed ${seed}`, async () => {
  const random = chance(seed + 5);
  for (let round = 0; round < 6; round++) {
    const signal = round > 3 ? 'SIGTERM' : 'SIGKILL';
    await using rig = await startMaster({ script, flags: ['--idle-grace', '1s', '--drain-timeout', '10m'] });
    using crowd = new Crowd(rig);
    await crowd.fill(EACH);
    const old = await rig.pids();
    const isTalking = round % 2 === 0;
    if (isTalking) crowd.talk();
    await reloadBegins(rig, old, true);
    await moment(random() * 10);
    rig.signal(signal);
    if (isTalking) await crowd.talked(200); // for longer than the grace: who talks is not closed for being idle
    await crowd.rest();
    await rig.gone();
    assert.deepEqual(crowd.mistakes, []);
    const unanswered = crowd.clients.filter(({ waiting }) => waiting.length > 0);
    assert.ok(unanswered.length <= (signal === 'SIGKILL' ? WINDOW : 0), `${signal}: ${unanswered.map(({ kind, ended }) => `${kind} ${ended}`)}`);
    const silent = crowd.clients.filter(({ waiting }) => waiting.length === 0);
    assert.deepEqual([...new Set(silent.map(({ ended }) => ended))], ['FIN'], 'whoever waits for nothing is told the end gracefully');
  }
});

test('Handoff survives kills: a program that closes its server while it drains keeps what comes back', async () => {
  await using rig = await startMaster({ script, env: { CLOSES: 'yes' }, flags: [...patient, '--probation', '1s'] });
  using crowd = new Crowd(rig);
  await crowd.fill(WINDOW, ['tcp']);
  const [old] = (await rig.pids()) as [number];
  rig.forget();
  rig.signal('SIGHUP');
  const stopped = (await rig.until('worker-serving'))['pid'] as number;
  using sleeper = asleep(stopped);
  await rig.until('reload-committed');
  await rig.waitFor(() => crowd.clients.every((client) => crowd.hasComeBack(client, old)) || undefined, 'all to come back');
  await crowd.askAll();
  assert.deepEqual(crowd.mistakes, []);
  assert.ok(
    crowd.clients.every(({ isOpen, pid }) => isOpen && pid === old),
    'the old worker has taken all back',
  );
  sleeper.wake();
  const { moved } = await rig.until('generation-gone');
  assert.deepEqual(moved, { tcp: WINDOW });
});

test('Handoff survives kills: a worker with something left to do keeps no copy of what has moved', async () => {
  await using rig = await startMaster({ script, flags: patient });
  using crowd = new Crowd(rig);
  await crowd.fill(EACH);
  const [old] = (await rig.pids()) as [number];
  const before = sockets(old);
  const busy = crowd.clients.pop() as Client;
  busy.socket.write('half '); // of a line: its program says "not now"
  await crowd.askAll(); // by the time of the last answer it has arrived
  crowd.clients.push(busy);
  const { open } = await rig.hup();
  assert.equal(open, 1);
  await poll(
    () => sockets(old) <= before - (2 * EACH - 1),
    () => `${before} sockets before, now ${sockets(old)}`,
  );
});

test('Handoff survives kills: after thousands of moves no descriptor is left in the master or the workers', async (context) => {
  await using rig = await startMaster({ script, flags: patient });
  using crowd = new Crowd(rig);
  await crowd.fill(100);
  await moveAround(rig, crowd, 3);
  const open = async () => [descriptors(rig.pid).length, ...(await rig.pids()).map((pid) => descriptors(pid).length)];
  const before = await open();
  const moves = await moveAround(rig, crowd, 25);
  context.diagnostic(`${moves} moves`);
  await poll(
    async () => String(await open()) === String(before),
    () => `descriptors of the master: ${descriptors(rig.pid)}, ${before} before`,
  );
});
