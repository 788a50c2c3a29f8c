/** Parts of different versions meet after an upgrade: they notice, and say what to do. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { exitCodes } from '../../src/errors.ts';
import { CONTROL_PROTOCOL, PROTOCOL_HEADER } from '../../src/protocol/control.ts';
import { WORKER_PROTOCOL } from '../../src/protocol/worker.ts';
import { commandOf, installPackage } from '../helpers/installation.ts';
import { cli, type Rig, startMaster, temporaryFolder } from '../helpers/rig.ts';

test('A worker whose runtime speaks another protocol than its master ends, and the failure says why', async () => {
  using folder = temporaryFolder();
  const installed = installPackage(folder.path);
  const runtime = join(installed, 'dist/worker/preload.cjs');
  const code = readFileSync(runtime, 'utf8');
  const other = code.replace(`WORKER_PROTOCOL = ${WORKER_PROTOCOL}`, `WORKER_PROTOCOL = ${WORKER_PROTOCOL + 1}`);
  assert.notEqual(other, code);
  writeFileSync(runtime, other);
  await using rig = await startMaster({ command: commandOf(installed), script: 'answers-pid.mjs', waitReady: false });
  const { code: exitCode, stderr } = await rig.finished;
  assert.equal(exitCode, exitCodes['start-failed']);
  const speak = `speaks protocol ${WORKER_PROTOCOL} with workers, and this runtime ${WORKER_PROTOCOL + 1}`;
  assert.ok(stderr.includes(`graceful-super was replaced under its running master, which ${speak}: start the master anew`), stderr);
});

test('A master refuses what asks in another protocol, and does nothing', async () => {
  await using rig = await startMaster({ script: 'answers-pid.mjs' });
  assert.deepEqual(await reload(rig, '0'), [409, `{"error":"this master speaks protocol ${CONTROL_PROTOCOL}, not 0"}\n`]);
  const { generation, reload: current, version } = await rig.status();
  assert.deepEqual([generation, current.phase], [1, 'idle']);
  assert.match(version, /^\d+\.\d+\.\d+/);
});

test('A command says of which version a master is that does not understand it', async (t: TestContext) => {
  using folder = temporaryFolder();
  const server = createServer((_request, response) => response.setHeader('Server', 'graceful-super/99.0.0').setHeader(PROTOCOL_HEADER, '99').end('{}'));
  t.after(() => server.close());
  mkdirSync(join(folder.path, 'app.lock'), { mode: 0o700 });
  symlinkSync('app.lock/1', join(folder.path, 'app.sock'));
  await new Promise<void>((resolve) => {
    server.listen(join(folder.path, 'app.lock/1'), resolve);
  });
  for (const command of ['status', 'reload', 'stop']) {
    const { code, stdout, stderr } = await cli([command, 'app', '--runtime-dir', folder.path]);
    assert.deepEqual([code, stdout], [exitCodes['control-failed'], ''], stderr);
    assert.match(
      stderr,
      /master "app" does not understand this command: it is graceful-super\/99\.0\.0, with control protocol 99, and this is graceful-super\/\d/,
    );
    assert.match(stderr, /hint: use the command of its version, or stop it by SIGTERM/);
  }
});

function reload({ runtimeDir, name }: Rig, protocol: string): Promise<[status: number | undefined, text: string]> {
  return new Promise((resolve, reject) => {
    const options = {
      socketPath: join(runtimeDir, `${name}.sock`),
      path: '/reload',
      method: 'POST',
      headers: { [PROTOCOL_HEADER]: protocol },
      agent: false,
    } as const;
    const sent = request(options, async (response) => {
      let text = '';
      for await (const chunk of response.setEncoding('utf8')) text += chunk;
      resolve([response.statusCode, text]);
    });
    sent.once('error', reject).end();
  });
}
