/** A server that a program gives to its child is in custody as any other: the child of new code accepts nothing before that code is ready. */
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ask, poll, type Rig, startMaster, temporaryFolder } from '../helpers/rig.ts';

const REQUESTS = 40;

test('A child that is given a server answers once its code is ready, not before, nor after a rollback', async () => {
  using folder = temporaryFolder();
  const gate = join(folder.path, 'gate');
  writeFileSync(gate, '');
  const flags = ['--wait-ready', '--ready-timeout', '1s', '--drain-timeout', '500ms'];
  await using rig = await startMaster({ script: 'gives-server-to-child.cjs', flags, env: { GATE: gate } });
  const [old = 0] = await rig.pids();
  await untilChildAnswers(rig, old);
  rmSync(gate);
  rig.forget();
  rig.signal('SIGHUP');
  const { pid: refused } = await rig.until('worker-spawned');
  await rig.waitFor(() => rig.stdout.includes(`listens ${refused}`) || undefined, 'the new code');
  await onlyOld(rig, old);
  assert.equal((await rig.until('reload-finished'))['outcome'], 'rolled-back');
  await onlyOld(rig, old);
  assert.ok(!rig.stdout.includes(`of ${refused}`), 'what follows the server waits with it');
  writeFileSync(gate, '');
  assert.equal((await rig.hup())['outcome'], 'committed');
  const [young = 0] = await rig.pids();
  await untilChildAnswers(rig, young);
  await rig.waitFor(
    () => new RegExp(`given to the child of ${young}\n[^]*a later message of ${young}`).test(rig.stdout) || undefined,
    'messages in their order',
  );
});

test('A server that is given away in the tick of its listen arrives', async () => {
  await using rig = await startMaster({ script: 'gives-server-at-once.cjs' });
  const [pid = 0] = await rig.pids();
  await untilChildAnswers(rig, pid);
});

async function untilChildAnswers(rig: Rig, parent: number): Promise<void> {
  await poll(
    async () => (await ask(rig.url())).text === `child of ${parent}`,
    () => `the child of ${parent} does not answer`,
  );
}

async function onlyOld(rig: Rig, old: number): Promise<void> {
  for (let count = 0; count < REQUESTS; count++) assert.match((await ask(rig.url())).text, new RegExp(` ${old}$`));
}
