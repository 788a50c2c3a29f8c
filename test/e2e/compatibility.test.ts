/** Programs can't tell that they are supervised, but by what docs/compatibility.md lists. `npm run test:compatibility` tries many more. */
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { compareProgram } from '../compatibility/programs.ts';
import { start, type Way } from '../compatibility/runs.ts';
import { finish, root } from '../helpers/rig.ts';

const folder = join(root, 'test/compatibility/programs');
const LIMIT_MS = 60_000;

for (const file of ['node-http.cjs', 'express.cjs', 'fastify.mjs', 'ws.cjs']) {
  test(`${file} answers the same, byte by byte, and ends alike`, async () => {
    const { answers, differences } = await compareProgram(folder, file);
    assert.ok(answers > 3);
    assert.deepEqual(differences, []);
  });
}

test('What a program sees of itself', async () => {
  const [plain, supervised] = await Promise.all([lookAtItself('plain'), lookAtItself('supervised')]);
  const { env, 'events of process': events } = plain as unknown as Facts;
  assert.deepEqual(supervised, {
    ...plain,
    env: [...env, 'GRACEFUL_SUPER_WORKER_INDEX'].sort(),
    'process.channel': 'object',
    'process.connected': true,
    'process.send': 'function',
    'events of process': [...events, 'SIGTERM', 'disconnect', 'internalMessage', 'uncaughtExceptionMonitor'].sort(),
    'right after listen': { listening: false, address: false },
  });
});

test('What a program finds of Node before it has done anything: what a channel brings along, and the differences of this list', async () => {
  const [forked, supervised] = await Promise.all([runForked('looks-around.cjs'), runToEnd('supervised', 'looks-around.cjs')]);
  const facts = JSON.parse(forked) as Surroundings;
  const signals = 'Internal Binding signal_wrap'; // of whoever listens to a signal
  assert.deepEqual(sorted(JSON.parse(supervised.join('')) as Surroundings), {
    ...sorted(facts),
    loaded: [...facts.loaded, signals].sort(),
    global: [...facts.global, 'Symbol(graceful-super.runtime)'].sort(), // every copy of the API finds the same runtime
    process: [...facts.process, 'emit function false'].sort(), // SIGTERM is the drain's until its end
    emit: false,
    events: [...facts.events.filter((event) => !event.startsWith('internalMessage')), ...ownListeners].sort(),
    environment: ['GRACEFUL_SUPER_WORKER_INDEX'],
    channels: ['child_process', 'net.server.socket', 'tracing:net.server.listen:asyncEnd', 'tracing:net.server.listen:asyncStart', 'udp.socket'], // how servers and children are known
  });
});

test('Every form of listen', async () => {
  const [plain = [], supervised = []] = await Promise.all([runToEnd('plain', 'listens-in-all-forms.cjs'), runToEnd('supervised', 'listens-in-all-forms.cjs')]);
  assert.deepEqual(supervised.slice(0, -2), plain.slice(0, -2));
  assert.deepEqual(plain.at(-2), '["closed at once",{"events":["close"]}]');
  assert.deepEqual(supervised.at(-2), '["closed at once",{"error":"ERR_SERVER_NOT_RUNNING","events":["close"]}]');
});

test('Every form of bind, and what a datagram socket is told', async () => {
  const [plain = [], supervised = []] = await Promise.all([runToEnd('plain', 'binds-in-all-forms.cjs'), runToEnd('supervised', 'binds-in-all-forms.cjs')]);
  assert.deepEqual(supervised, plain);
});

const ownListeners = ['SIGTERM 1', 'disconnect 1', 'internalMessage 2', 'uncaughtExceptionMonitor 1'];

type Surroundings = Readonly<Record<'loaded' | 'global' | 'process' | 'events' | 'channels' | 'environment', readonly string[]>>;

/** Orders do not matter. */
function sorted(facts: Surroundings): Record<string, unknown> {
  return { ...facts, loaded: [...facts.loaded].sort(), events: [...facts.events].sort(), channels: [...facts.channels].sort() };
}

/** What it writes where it is forked: what it then finds comes with the channel, whoever is at its other end. */
async function runForked(file: string): Promise<string> {
  const { code, stdout, stderr } = await finish(fork(join(folder, file), { execArgv: [], silent: true, cwd: folder }));
  assert.equal(code, 0, stderr);
  return stdout;
}

interface Facts {
  readonly env: readonly string[];
  readonly 'events of process': readonly string[];
}

async function lookAtItself(way: Way): Promise<Record<string, unknown>> {
  return JSON.parse((await runToEnd(way, 'sees-itself.cjs')).join('')) as Record<string, unknown>;
}

/** What it writes, line by line; ports and names of temporary folders may differ. */
async function runToEnd(way: Way, file: string): Promise<string[]> {
  const { end, stdout, stderr } = await start(way, { file: join(folder, file), args: ['one', '--two'], cwd: folder, limitMs: LIMIT_MS }).ended;
  assert.equal(end, 0, stderr);
  return stdout
    .replaceAll(/forms-\w{6}/g, 'forms')
    .replaceAll(/("port":)\d+/g, '$1…')
    .split('\n');
}
