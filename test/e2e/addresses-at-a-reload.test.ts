/** A reload leaves no address of the old code without anybody, unless somebody wants it so. What is held is in LISTEN from the start. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { ask, fixture, type Rig, startMaster, temporaryFolder } from '../helpers/rig.ts';
import { dial } from '../helpers/wire.ts';

const host = '127.0.0.1';
const quick = ['--ready-timeout', '1s'];

test('New code that no longer listens where the old code serves is a failed reload, and the reason says where', async () => {
  await using program = await programOn([{ port: 0, host }, { path: 'old.sock' }]);
  const { rig } = program;
  program.change([{ port: 0, host }, { path: 'new.sock' }]);
  const { outcome, message } = await rig.hup();
  assert.equal(outcome, 'rolled-back');
  assert.match(message, /does not listen on unix:.*old\.sock, where the old code serves \(--allow-address-change allows it\)/);
  assert.equal((await program.ask('old.sock')).status, 200);
  rig.forget();
  const allowed = await rig.command('reload', rig.name, '--allow-address-change');
  assert.equal(allowed.code, 0, allowed.stderr);
  assert.equal((await program.ask('new.sock')).status, 200);
  await rig.until('listeners-closed');
  await assert.rejects(program.ask('old.sock'), { code: 'ENOENT' });
  assert.equal((await rig.command('rollback', rig.name)).code, 0, 'the code of before comes back with its address');
  assert.equal((await program.ask('new.sock')).status, 200);
});

test('--allow-address-change allows it for every reload', async () => {
  await using program = await programOn([{ port: 0, host }, { path: 'old.sock' }], ['--allow-address-change']);
  program.change([{ port: 0, host }]);
  assert.equal((await program.rig.hup())['outcome'], 'committed');
});

test('A port that the new code opens a moment later is waited for, and nobody is refused there', async () => {
  const both = [
    { port: 0, host },
    { path: 'late.sock', after: 150 },
  ];
  await using program = await programOn(both, ['--ready-timeout', '3s']);
  await reachable(program);
  assert.equal((await program.rig.hup())['outcome'], 'committed');
  const { text } = await program.ask('late.sock');
  assert.deepEqual([Number(text)], await program.rig.pids());
});

test('A port that the configuration has changed is no lost one', async () => {
  using folder = temporaryFolder();
  const [one, two] = [await freePort(), await freePort()];
  const config = join(folder.path, 'settings.json');
  const file = join(folder.path, 'options.json');
  writeFileSync(file, '[]');
  const configure = (port: number) =>
    writeFileSync(config, JSON.stringify({ script: fixture('listens-where-told.cjs'), args: [file], env: { PORT: String(port) } }));
  configure(one);
  await using rig = await startMaster({ flags: ['--config', config, ...quick] });
  assert.equal((await ask(`http://${host}:${one}`)).status, 200);
  configure(two);
  assert.equal((await rig.hup())['outcome'], 'committed');
  assert.equal((await ask(`http://${host}:${two}`)).status, 200);
  await rig.until('listeners-closed');
  await assert.rejects(ask(`http://${host}:${one}`), { code: 'ECONNREFUSED' });
});

test('A pipe that a tool makes for itself is neither what makes a program ready nor what a reload needs', async () => {
  await using rig = await startMaster({ script: 'has-private-pipes.cjs', flags: quick });
  assert.equal((await ask(rig.url())).status, 200);
  assert.equal(rig.addresses().length, 1, 'it serves at one address');
  assert.equal((await rig.hup())['outcome'], 'committed');
  assert.equal((await rig.until('worker-stopped'))['level'], 'info', 'what it made was its own to remove');
  assert.deepEqual(rig.all('path-lost'), []);
});

test('What --listen names is in LISTEN before the program runs: nobody else gets it, and who connects waits', async () => {
  using folder = temporaryFolder();
  const gate = join(folder.path, 'gate');
  const port = await freePort();
  await using rig = await startMaster({
    script: 'waits-for-file.cjs',
    env: { GATE: gate, PORT: String(port) },
    flags: ['--listen', `${host}:${port}`],
    waitReady: false,
  });
  await rig.waitFor(() => rig.stdout.includes('waiting') || undefined, 'the program');
  using wire = await dial({ port, host });
  const thief = createServer();
  await assert.rejects(new Promise((resolve, reject) => thief.once('error', reject).listen({ port, host }, () => resolve(0))), { code: 'EADDRINUSE' });
  wire.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
  writeFileSync(gate, '');
  assert.equal(await wire.end(), 'FIN');
  assert.match(wire.text, /^HTTP\/1.1 200 /);
});

interface Program extends AsyncDisposable {
  readonly rig: Rig;
  change(options: readonly object[]): void;
  ask(path: string): ReturnType<typeof ask>;
}

/** `listens-where-told.cjs` on these; paths are in a folder of its own. */
async function programOn(options: readonly object[], flags: readonly string[] = quick): Promise<Program> {
  const folder = temporaryFolder();
  const file = join(folder.path, 'options.json');
  const change = (to: readonly object[]) => writeFileSync(file, JSON.stringify(to));
  change(options);
  const rig = await startMaster({ script: 'listens-where-told.cjs', args: [file], cwd: folder.path, flags });
  return {
    rig,
    change,
    ask: (path) => ask('http://localhost', { socketPath: join(folder.path, path) }),
    async [Symbol.asyncDispose]() {
      await rig[Symbol.asyncDispose]();
      folder[Symbol.dispose]();
    },
  };
}

async function reachable(program: Program): Promise<void> {
  while (
    !(await program.ask('late.sock').then(
      () => true,
      () => false,
    ))
  );
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen({ port: 0, host }, resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address !== null ? address.port : 0;
}
