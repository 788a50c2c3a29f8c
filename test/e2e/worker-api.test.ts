/** What a program may import from graceful-super, with a supervisor and without. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ask, fixture, poll, type Rig, startMaster, temporaryFolder } from '../helpers/rig.ts';
import { dial } from '../helpers/wire.ts';

const host = '127.0.0.1';

interface Answer {
  readonly pid: number;
  readonly generation: number;
}

test('With --wait-ready the old worker answers every request until ready() is called', async () => {
  using folder = temporaryFolder();
  const go = join(folder.path, 'go');
  writeFileSync(go, '');
  await using rig = await startMaster({ script: 'takes-part.mjs', flags: ['--wait-ready'], env: { READY: go } });
  const first = await askIt(rig);
  assert.equal(first.generation, 1);
  rmSync(go);
  rig.forget();
  rig.signal('SIGHUP');
  const lines = () => rig.stdout.split('\n').filter((line) => line.startsWith('listening')).length;
  await rig.waitFor(() => lines() === 2 || undefined, 'the listen of the new worker');
  for (let turn = 0; turn < 50; turn++) assert.deepEqual(await askIt(rig), first);
  assert.deepEqual(rig.all('worker-ready'), []);
  writeFileSync(go, '');
  await rig.until('reload-finished');
  const second = await askIt(rig);
  assert.equal(second.generation, 2);
  assert.deepEqual([second.pid], await rig.pids());
});

test('onDrain hooks run when the worker accepts no more, and are awaited, late ones too; one that fails is told', async () => {
  using folder = temporaryFolder();
  const hold = join(folder.path, 'hold');
  writeFileSync(hold, '');
  await using rig = await startMaster({ script: 'takes-part.mjs', env: { HOLD: hold } });
  const [oldPid = 0] = await rig.pids();
  await rig.hup();
  await rig.waitFor(() => rig.stdout.includes(`hook begins ${oldPid}`) || undefined, 'the hook');
  await rig.waitFor(() => rig.stdout.includes(`late hook ends ${oldPid}`) || undefined, 'the hook that was added by a hook');
  const newPid = (await askIt(rig)).pid;
  assert.notEqual(newPid, oldPid);
  assert.deepEqual(rig.all('worker-drained'), []);
  const { text } = await rig.until('worker-note').then(({ message }) => ({ text: message }));
  assert.match(text, /onDrain hook failed: Error: a hook that fails/);
  rmSync(hold);
  const { exit } = await rig.until('worker-stopped');
  assert.deepEqual(exit, { reason: 'exit', code: 0 });
  assert.match(rig.stdout, new RegExp(`\\bhook ends ${oldPid}\nexits ${oldPid}\n`));
});

test('A hook that does not end is given up at the drain timeout, and that is told', async () => {
  using folder = temporaryFolder();
  const hold = join(folder.path, 'hold');
  writeFileSync(hold, '');
  await using rig = await startMaster({ script: 'takes-part.mjs', env: { HOLD: hold }, flags: ['--drain-timeout', '500ms'] });
  await rig.hup();
  await rig.until('worker-note', ({ message }) => message.includes('had not ended at the drain timeout'));
  await rig.until('worker-stopped');
});

test('Without a supervisor the generation is 0, and SIGTERM drains', async () => {
  using folder = temporaryFolder();
  const hold = join(folder.path, 'hold');
  writeFileSync(hold, '');
  const program = runBare('takes-part.mjs', { HOLD: hold });
  const port = Number(/\d+/.exec(await program.until(/listening on \d+/))?.[0]);
  const { pid } = program.child;
  assert.deepEqual(JSON.parse((await ask(`http://${host}:${port}/ready`)).text), { pid, generation: 0 });
  using wire = await dial({ port, host });
  wire.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n');
  await ask(`http://${host}:${port}`); // by now the half-sent one, which came before, has arrived too
  program.child.kill('SIGTERM');
  await program.until(/hook begins/);
  await assert.rejects(ask(`http://${host}:${port}`), { code: 'ECONNREFUSED' });
  wire.write('body');
  assert.equal(await wire.end(), 'FIN');
  assert.match(wire.text, /Connection: close\r\n[\s\S]*"generation":0/);
  rmSync(hold);
  assert.deepEqual(await program.ended, [0, null]);
  assert.match(program.text(), new RegExp(`\\bhook ends ${pid}\nexits ${pid}\n`));
});

test('Without a supervisor a second SIGTERM hurries', async () => {
  const program = runBare('takes-part.mjs', { HOLD: fixture('takes-part.mjs') });
  await program.until(/listening/);
  program.child.kill('SIGTERM');
  await program.until(/hook begins/);
  program.child.kill('SIGTERM');
  assert.deepEqual(await program.ended, [0, null]);
});

async function askIt(rig: Rig): Promise<Answer> {
  return JSON.parse((await ask(rig.url())).text) as Answer;
}

interface Bare {
  readonly child: ChildProcess;
  readonly ended: Promise<[number | null, string | null]>;
  text(): string;
  /** The match of what it has printed. */
  until(pattern: RegExp): Promise<string>;
}

function runBare(script: string, env: NodeJS.ProcessEnv): Bare {
  const child = spawn(process.execPath, [fixture(script)], { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'ignore'] });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (more: string) => {
    text += more;
  });
  const until = async (pattern: RegExp) => {
    await poll(
      () => pattern.test(text),
      () => `waited for ${pattern}, got ${text}`,
    );
    return pattern.exec(text)?.[0] ?? '';
  };
  return { child, text: () => text, until, ended: new Promise((resolve) => child.once('close', (code, signal) => resolve([code, signal]))) };
}

test('Each worker has an index, which its successor gets at a reload, and whoever is started in its place', async () => {
  await using rig = await startMaster({ script: 'tells-its-index.mjs', flags: ['--workers', '3'] });
  const told = () => [...rig.stdout.matchAll(/^(\d+) has index (\d) (\d)$/gm)].map(([, pid, index, variable]) => ({ pid: Number(pid), index, variable }));
  const first = await rig.waitFor(() => (told().length === 3 ? told() : undefined), 'three indices');
  assert.deepEqual(first.map(({ index, variable }) => `${index} ${variable}`).sort(), ['0 0', '1 1', '2 2']);
  process.kill(first.find(({ index }) => index === '1')?.pid ?? 0, 'SIGKILL');
  const replacement = await rig.waitFor(() => told()[3], 'the replacement');
  assert.equal(replacement.index, '1');
  await rig.hup();
  const next = await rig.waitFor(() => (told().length === 7 ? told().slice(4) : undefined), 'three more');
  assert.deepEqual(next.map(({ index }) => index).sort(), ['0', '1', '2']);
  const { workers } = await rig.status();
  for (const { pid, index } of next) assert.equal(workers.find((worker) => worker.pid === pid)?.index, Number(index));
});
