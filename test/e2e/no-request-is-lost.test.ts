import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ask, startMaster } from '../helpers/rig.ts';
import { startStorm } from '../helpers/storm.ts';

test('No request is lost at a reload: a storm over 8 reloads', async () => {
  await using rig = await startMaster({ script: 'http-echo.cjs' });
  const storm = startStorm({ port: rig.port(), keepAlive: 50, fresh: 10 });
  for (let reload = 0; reload < 8; reload++) {
    await storm.answered(150);
    const { outcome } = await rig.hup();
    assert.equal(outcome, 'committed');
  }
  await storm.answered(150);
  const { failures, byPid, resets } = await storm.stop();
  assert.deepEqual(failures, []);
  assert.equal(resets, 0);
  assert.equal(byPid.size, 9, 'every generation answered something');
});

test('A slow request is answered by the old worker, a fast one beside it by the new', async () => {
  await using rig = await startMaster({ script: 'http-echo.cjs' });
  const [oldPid] = await rig.pids();
  const pidFor = async (query: string) => (JSON.parse((await ask(`${rig.url()}/?${query}`)).text) as { pid: number }).pid;
  const slow = pidFor('wait=2000');
  await pidFor('id=first'); // the slow one, sent before, is being served
  await rig.hup();
  const [newPid] = await rig.pids();
  assert.notEqual(newPid, oldPid);
  assert.equal(await pidFor('id=fast'), newPid);
  assert.equal(await slow, oldPid);
});
