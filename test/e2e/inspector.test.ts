import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { ask, poll, startMaster } from '../helpers/rig.ts';

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

test('The inspector that a program is started with is that of the new code after a reload', async () => {
  const port = await freePort();
  await using rig = await startMaster({ script: 'http-echo.cjs', flags: [`--node-arg=--inspect=${port}`, '--linger', '0s'] });
  const idOf = async () => (JSON.parse((await ask(`http://127.0.0.1:${port}/json/list`)).text) as { title: string; id: string }[])[0]?.id;
  const first = await idOf();
  assert.ok(first);
  await rig.hup();
  await poll(
    async () => ![first, undefined].includes(await idOf().catch(() => undefined)),
    () => 'nobody has it',
  );
});
