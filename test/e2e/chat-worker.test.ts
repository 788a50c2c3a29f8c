/** The chat of the documentation: nobody in the room notices that its code is redeployed. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ask, poll, type Rig, root, startMaster, temporaryFolder } from '../helpers/rig.ts';
import { dialWebSocket, type WebSocketWire } from '../helpers/web-socket.ts';

const script = join(root, 'docs/examples/chat-worker.js');
const names = Array.from({ length: 20 }, (_, index) => `member${index}`);

interface Line {
  readonly name: string;
  readonly text?: string;
  readonly event?: string;
}

for (const workers of [1, 2]) {
  test(`Over three reloads ${workers === 1 ? '' : 'of two workers '}every member sees the same lines, all and once, and nobody leaves or joins`, async () => {
    using folder = temporaryFolder();
    const file = join(folder.path, 'room');
    await using rig = await startMaster({ script, env: { CHAT_PORT: '0', CHAT_FILE: file }, flags: ['--workers', String(workers)] });
    const wires = await Promise.all(names.map((name) => enter(rig, name)));
    const said = await chatOverReloads(rig, wires, workers);
    for (const wire of wires) await wire.until(() => wire.texts.length === names.length + said.flat().length);
    const [first] = wires;
    const lines = linesOf(first);
    for (const wire of wires) assert.deepEqual(wire.texts, first?.texts);
    assert.deepEqual(lines.flatMap(({ name, event }) => (event === 'joined' ? name : [])).sort(), [...names].sort());
    for (const [index, name] of names.entries()) {
      assert.deepEqual(
        lines.flatMap((line) => (line.name === name && line.text !== undefined ? line.text : [])),
        said[index],
      );
    }
    for (const { socket } of wires) socket.terminate();
    await rig.stop();
    assert.equal(existsSync(file), false);
  });
}

test('A new name lives on, and who really leaves is missed once', async () => {
  await using rig = await startMaster({ script, env: { CHAT_PORT: '0' } });
  using ann = await enter(rig, 'ann');
  using guest = await enter(rig);
  guest.socket.send('/nick bob');
  await rig.hup();
  await rig.until('worker-drained');
  guest.socket.send('hello');
  ann.socket.send('/nick');
  await ann.until(() => ann.texts.length === 5);
  guest.socket.close();
  await ann.until(() => ann.texts.length === 6);
  assert.deepEqual(linesOf(ann).slice(0, 3), [
    { name: 'ann', event: 'joined' },
    { name: 'guest', event: 'joined' },
    { name: 'guest', event: 'is now bob' },
  ]);
  assert.deepEqual(new Set(ann.texts.slice(3, 5)), new Set([JSON.stringify({ name: 'bob', text: 'hello' }), JSON.stringify({ name: 'ann', text: '/nick' })]));
  assert.deepEqual(linesOf(ann).at(-1), { name: 'bob', event: 'left' });
});

test('Its page is a chat, and at a stop the members are told', async () => {
  await using rig = await startMaster({ script, env: { CHAT_PORT: '0' } });
  const { status, text } = await ask(rig.url());
  assert.equal(status, 200);
  assert.match(text, /<script>[\s\S]*new WebSocket\(/);
  using ann = await enter(rig, 'ann');
  rig.signal('SIGTERM');
  assert.equal(await ann.end(), 1001);
  assert.equal((await rig.finished).code, 0);
});

test('It runs as a plain program too', async () => {
  using folder = temporaryFolder();
  const file = join(folder.path, 'room');
  const child = spawn(process.execPath, [script], { env: { ...process.env, CHAT_PORT: '0', CHAT_FILE: file }, stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (more: string) => {
    text += more;
  });
  const ended = new Promise((resolve) => child.once('close', (code, signal) => resolve([code, signal])));
  await poll(
    () => /listening on 127\.0\.0\.1:\d+\n/.test(text),
    () => text,
  );
  using ann = await dialWebSocket(`http://127.0.0.1:${/:(\d+)\n/.exec(text)?.[1]}/?name=ann`);
  ann.socket.send('hello');
  await ann.until(() => ann.texts.length === 2);
  assert.deepEqual(linesOf(ann), [
    { name: 'ann', event: 'joined' },
    { name: 'ann', text: 'hello' },
  ]);
  child.kill('SIGTERM');
  assert.equal(await ann.end(), 1001);
  assert.deepEqual(await ended, [0, null]);
  assert.equal(existsSync(file), false);
});

/** Everybody talks all the time. @returns what each has said */
async function chatOverReloads(rig: Rig, wires: readonly WebSocketWire[], workers: number): Promise<string[][]> {
  const said: string[][] = wires.map(() => []);
  const speak = (wire: WebSocketWire, index: number) => {
    const text = `says ${(said[index]?.length ?? 0) + 1}`;
    said[index]?.push(text);
    wire.socket.send(text);
  };
  const timer = setInterval(() => wires.forEach(speak), 30);
  timer.unref(); // a test that fails meanwhile must end
  const heardMore = () => {
    const goals = wires.map(({ texts }) => texts.length + 5 * names.length);
    return Promise.all(wires.map((wire, index) => wire.until(() => wire.texts.length >= (goals[index] ?? 0))));
  };
  for (const generation of [1, 2, 3]) {
    await heardMore();
    await rig.hup();
    const gone = () => rig.all('worker-drained').filter((event) => event['generation'] === generation);
    await rig.waitFor(() => gone().length === workers || undefined, 'the drained workers');
    const moved = gone().reduce((sum, event) => sum + ((event['moved'] as Record<string, number>)['websocket'] ?? 0), 0);
    assert.equal(moved, names.length);
  }
  await heardMore();
  clearInterval(timer);
  for (const { ended } of wires) assert.equal(ended, undefined);
  return said;
}

/** A member, once it is in. */
async function enter(rig: Rig, name?: string): Promise<WebSocketWire> {
  const wire = await dialWebSocket(`${rig.url()}/${name === undefined ? '' : `?name=${name}`}`);
  await wire.until(() => linesOf(wire).some((line) => line.name === (name ?? 'guest') && line.event === 'joined'));
  return wire;
}

function linesOf(wire: WebSocketWire | undefined): Line[] {
  return wire?.texts.map((text) => JSON.parse(text) as Line) ?? [];
}
