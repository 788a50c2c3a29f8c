import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { exitCodes } from '../../src/errors.ts';
import { startDeployed } from '../helpers/releases.ts';
import { ask, type Rig, startMaster, temporaryFolder } from '../helpers/rig.ts';

/** Who began and who ended, in order, by the place in the order of the beginnings: `+1 -1 +2`. */
function lives(rig: Rig): string {
  const lines = [...rig.stdout.matchAll(/^(begins|ends) (\d+)$/gm)].map(([, what, pid]) => ({ what, pid }));
  const pids = lines.filter(({ what }) => what === 'begins').map(({ pid }) => pid);
  return lines.map(({ what, pid }) => `${what === 'begins' ? '+' : '-'}${pids.indexOf(pid) + 1}`).join(' ');
}

const saysReady = ['ready'];

test('A program that listens nowhere is ready when it has lived a moment; at a reload old and new overlap', async () => {
  await using rig = await startMaster({ script: 'consumer.cjs' });
  assert.match((await rig.until('master-ready')).message, /without a listener/);
  assert.equal((await rig.hup())['outcome'], 'committed');
  await rig.until('worker-stopped');
  assert.equal(lives(rig), '+1 +2 -1');
});

test('A server that listens long after its first start serves from then on', async () => {
  using folder = temporaryFolder();
  const gate = join(folder.path, 'gate');
  await using rig = await startMaster({ script: 'waits-for-file.cjs', env: { GATE: gate } });
  writeFileSync(gate, '');
  await rig.until('worker-listens');
  const [listener] = (await rig.status()).listeners;
  assert.equal((await ask(`http://${listener?.address}`)).status, 200);
});

test('A server that listens long after its first start accepts nothing until its preflight has passed again', async () => {
  using folder = temporaryFolder();
  const [gate, hold] = [join(folder.path, 'gate'), join(folder.path, 'hold')];
  await using rig = await startMaster({ script: 'listens-late.mjs', env: { GATE: gate, HOLD: hold } });
  assert.equal(rig.stdout, 'proves itself\n');
  writeFileSync(hold, '');
  writeFileSync(gate, '');
  await rig.until('worker-listens');
  const [listener] = (await rig.status()).listeners;
  let isAnswered = false;
  const answer = ask(`http://${listener?.address}`).finally(() => {
    isAnswered = true;
  });
  assert.match((await rig.until('worker-preflight-failed')).message, /preflight\(warm\).*cold/);
  await rig.waitFor(() => rig.stdout.split('\n').length > 4 || undefined, 'another try');
  assert.equal(isAnswered, false);
  rmSync(hold);
  assert.equal((await answer).status, 200);
});

test('A program that ends within --ready-timeout of its first start, and has never listened, has failed to start', async () => {
  using folder = temporaryFolder();
  const gate = join(folder.path, 'gate');
  await using rig = await startMaster({ script: 'job.cjs', args: ['3', gate] });
  writeFileSync(`${gate}-1`, '');
  const { code, stderr } = await rig.finished;
  assert.equal(code, exitCodes['start-failed']);
  assert.match(stderr, /the start has failed: worker 1 \(generation 1\) exited with code 3 after .*, and had never listened/);
  assert.deepEqual(rig.all('worker-spawned').length, 1);
});

test('--no-overlap: the old workers end before new ones start', async () => {
  await using rig = await startMaster({ script: 'consumer.cjs', args: saysReady, flags: ['--no-overlap', '--workers', '2'] });
  rig.forget();
  const { outcome, message } = await rig.hup();
  assert.equal(outcome, 'committed', message);
  assert.match(lives(rig), /^\+1 \+2 -(1 -2|2 -1) \+3 \+4$/);
  assert.match((await rig.until('reload-committed')).message, /generation 2 serves, generation 1 has ended/);
});

test('--no-overlap: when the new release does not get ready, the old one is started again', async () => {
  await using deployed = await startDeployed(['consumer.cjs'], { args: saysReady, flags: ['--no-overlap'] });
  const { rig } = deployed;
  deployed.deploy('two', 'consumer-fails.mjs');
  const { outcome, message } = await rig.hup();
  assert.equal(outcome, 'rolled-back');
  assert.match(message, /exited with code 3/);
  const { worker } = await rig.until('worker-serving');
  assert.equal(lives(rig), '+1 -1 +2 +3');
  assert.equal((await rig.status()).workers.find(({ id }) => id === worker)?.generation, 1);
});

test('--no-overlap: a worker that is to be replaced ends before its successor starts', async () => {
  await using rig = await startMaster({ script: 'consumer.cjs', args: saysReady, flags: ['--no-overlap', '--max-age', '1s'] });
  rig.forget();
  await rig.until('worker-serving');
  assert.equal(lives(rig).slice(0, 8), '+1 -1 +2');
});

test('--no-overlap rules a canary out, and says so before anything is touched', async () => {
  await using rig = await startMaster({ script: 'consumer.cjs', args: saysReady, flags: ['--no-overlap'] });
  const { code, stderr } = await rig.command('reload', '--canary', '1');
  assert.equal(code, 41);
  assert.match(stderr, /a canary serves beside the old workers, which --no-overlap rules out/);
  assert.equal(lives(rig), '+1');
});
