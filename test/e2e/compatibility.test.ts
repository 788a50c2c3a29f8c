/** Programs can't tell that they are supervised, but by what docs/compatibility.md lists. `npm run test:compatibility` tries many more. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { compareProgram } from '../compatibility/programs.ts';
import { start, type Way } from '../compatibility/runs.ts';
import { root } from '../helpers/rig.ts';

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
  const { env, server, 'events of process': events } = plain as unknown as Facts;
  assert.deepEqual(supervised, {
    ...plain,
    env: [...env, 'GRACEFUL_SUPER_WORKER_INDEX'].sort(),
    'process.channel': 'object',
    'process.connected': true,
    'process.send': 'function',
    'events of process': [...events, 'SIGTERM', 'disconnect', 'internalMessage', 'uncaughtExceptionMonitor'].sort(),
    'right after listen': { listening: false, address: false },
    server: { ...server, events: [...server.events, 'close', 'secureConnection', 'session'].sort() },
  });
});

test('Every form of listen', async () => {
  const [plain = [], supervised = []] = await Promise.all([runToEnd('plain', 'listens-in-all-forms.cjs'), runToEnd('supervised', 'listens-in-all-forms.cjs')]);
  assert.deepEqual(supervised.slice(0, -2), plain.slice(0, -2));
  assert.deepEqual(plain.at(-2), '["closed at once",{"events":["close"]}]');
  assert.deepEqual(supervised.at(-2), '["closed at once",{"error":"ERR_SERVER_NOT_RUNNING","events":["close"]}]');
});

interface Facts {
  readonly env: readonly string[];
  readonly server: { readonly events: readonly string[] };
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
