/** A process is asked where it hangs. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { stackOf } from '../../../src/node/inspector.ts';
import { makeFolder } from '../helpers/folder.ts';

const SIDE_BY_SIDE = 4;
const ROUNDS = 8;
const HANGS = `
  const { existsSync } = require('node:fs');
  function hangsHere() { while (!existsSync(process.argv[1])); }
  process.on('SIGUSR2', () => {
    console.log('hangs');
    hangsHere();
    console.log('lives');
  });
  process.stdin.resume();
  console.log('waits');
`;

/** How it went on with one that hangs until the gate is there. */
async function askOne(gate: string): Promise<{ stack: string | undefined; code: unknown; signal: unknown; said: string }> {
  const child = spawn(process.execPath, ['--inspect-port=0', '-e', HANGS, gate], { stdio: ['pipe', 'pipe', 'ignore'] });
  let said = '';
  const saying = (word: string) =>
    new Promise<void>((resolve) => {
      const look = () => (said.includes(word) || child.exitCode !== null || child.signalCode !== null) && resolve();
      child.stdout.on('data', look);
      child.once('exit', look);
      look();
    });
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const ended = once(child, 'close');
  await saying('waits');
  child.kill('SIGUSR2');
  await saying('hangs');
  const stack = await stackOf(child.pid as number, () => child.kill('SIGUSR1'));
  writeFileSync(gate, '');
  await saying('lives');
  child.stdin.end();
  const [code, signal] = (await ended) as [unknown, unknown];
  return { stack, code, signal, said };
}

test('a process that hangs tells where, and goes on as if nothing had been', { skip: process.platform === 'linux' ? false : 'Linux only' }, async () => {
  using folder = makeFolder();
  let told = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const gates = Array.from({ length: SIDE_BY_SIDE }, (_, index) => join(folder.path, `${round}.${index}`));
    for (const { stack, code, signal, said } of await Promise.all(gates.map(askOne))) {
      assert.deepEqual([code, signal, said], [0, null, 'waits\nhangs\nlives\n']);
      if (stack === undefined) continue; // a machine that is too busy
      assert.match(stack, /at hangsHere /);
      told++;
    }
  }
  assert.ok(told > 0);
});
