/** A WebSocket or a raw connection does not leave a program that still owes it an answer. */
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { dialHttp } from '../helpers/http.ts';
import { startMaster, temporaryFolder } from '../helpers/rig.ts';
import { dialWebSocket } from '../helpers/web-socket.ts';

const script = 'answers-later.mjs';

test('What was given to a listener that returns a promise is answered before the connection moves, however long that takes', async () => {
  using folder = temporaryFolder();
  const hold = join(folder.path, 'hold');
  await using rig = await startMaster({ script, env: { HOLD: hold } });
  const [old] = (await rig.pids()) as [number];
  using webSocket = await dialWebSocket(rig.url(0));
  using raw = await dialHttp(rig, 1);
  using silent = await dialWebSocket(rig.url(0));
  await silent.ask('hello');
  writeFileSync(hold, '');
  rig.forget();
  rig.signal('SIGHUP');
  await rig.waitFor(() => rig.stdout.includes('drains') || undefined, 'the drain');
  webSocket.socket.send('late');
  raw.write('later');
  await rig.waitFor(() => (rig.stdout.includes('heard late') && rig.stdout.includes('heard later')) || undefined, 'what was said');
  await rig.until('reload-finished');
  await silent.until(() => silent.texts.length === 1);
  silent.socket.send('again'); // it has moved: this is heard by the new worker
  await rig.waitFor(() => rig.stdout.includes('heard again') || undefined, 'who has moved');
  rmSync(hold);
  await webSocket.until(() => webSocket.texts.length === 1);
  await raw.until('later');
  await silent.until(() => silent.texts.length === 2);
  const [now] = (await rig.pids()) as [number];
  assert.deepEqual([webSocket.texts, raw.text, silent.texts[1]], [[`${old} late`], `${old} later`, `${now} again`]);
  const { moved } = await rig.until('generation-gone');
  assert.deepEqual(moved, { websocket: 2, tcp: 1 });
  assert.equal(await webSocket.ask('new'), `${now} new`);
});

test('What was given to a listener that returns a promise long before the drain is answered before the connection moves', async () => {
  using folder = temporaryFolder();
  const hold = join(folder.path, 'hold');
  await using rig = await startMaster({ script, env: { HOLD: hold } });
  const [old] = (await rig.pids()) as [number];
  using webSocket = await dialWebSocket(rig.url(0));
  using raw = await dialHttp(rig, 1);
  using silent = await dialWebSocket(rig.url(0));
  await silent.ask('hello');
  writeFileSync(hold, '');
  webSocket.socket.send('early');
  raw.write('earlier');
  await rig.waitFor(() => (rig.stdout.includes('heard early') && rig.stdout.includes('heard earlier')) || undefined, 'what was said');
  await rig.hup();
  silent.socket.send('again'); // it has moved, as the others would have: this is heard by the new worker
  await rig.waitFor(() => rig.stdout.includes('heard again') || undefined, 'who has moved');
  rmSync(hold);
  await webSocket.until(() => webSocket.texts.length === 1);
  await raw.until('earlier');
  assert.deepEqual([webSocket.texts, raw.text], [[`${old} early`], `${old} earlier`]);
  const { moved } = await rig.until('generation-gone');
  assert.deepEqual(moved, { websocket: 2, tcp: 1 });
});

test('What was given to any other listener a moment before is answered, too, though the client never pauses', async () => {
  await using rig = await startMaster({ script, env: { WAY: 'timer' } });
  using webSocket = await dialWebSocket(rig.url(0));
  using raw = await dialHttp(rig, 1);
  let sent = 0;
  const timer = setInterval(() => {
    webSocket.socket.send(`<${++sent}>`);
    raw.write(`<${sent}>`);
  }, 150);
  await rig.hup();
  await rig.until('generation-gone');
  await webSocket.ask('<last>');
  clearInterval(timer);
  const wanted = Array.from({ length: sent }, (_, index) => `<${index + 1}>`);
  await webSocket.until(() => webSocket.texts.length > sent);
  await raw.until(`<${sent}>`);
  assert.deepEqual(
    webSocket.texts.map((text) => text.split(' ')[1]).filter((text) => text !== '<last>'),
    wanted,
  );
  assert.deepEqual(raw.text.match(/<\d+>/g), wanted);
});
