import assert from 'node:assert/strict';
import { reloadUnderStorm } from '../helpers/move-storm.ts';
import { overEach } from '../helpers/over-each.ts';
import { startMaster } from '../helpers/rig.ts';

const clients = 100;
const reloads = 8;

overEach('No connection is dropped at a reload: 100 clients keep theirs over 8 reloads', async (over) => {
  await using rig = await startMaster({ over, script: 'http-echo.cjs', env: { KEEP_ALIVE: '60000' } });
  const { failures, opened, resets, byPid } = await reloadUnderStorm(rig, { clients, reloads });
  assert.deepEqual(failures, []);
  assert.deepEqual({ opened, resets, generations: byPid.size }, { opened: clients, resets: 0, generations: reloads + 1 });
});
