/** Connections behind TLS 1.3 go on in the next worker with --handoff-tls; what holds for each carrier stands in the tests of HTTP, WebSocket and raw connections. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { Agent, type RequestOptions, request } from 'node:https';
import { join } from 'node:path';
import { test } from 'node:test';
import type { ConnectionOptions, TLSSocket } from 'node:tls';
import { dialHttp, visit } from '../helpers/http.ts';
import { fixture, type Rig, startMaster, temporaryFolder } from '../helpers/rig.ts';
import { dialTls, makeCertificate } from '../helpers/wire.ts';

const over = 'TLS';
const CLIENTS = 12;

for (const [what, script] of [
  ["A program of Node's https", 'tells-tls.cjs'],
  ['A program of Express', 'express-pid.cjs'],
] as const) {
  test(`${what} keeps the connections of agents that keep them, over three reloads`, async () => {
    await using rig = await startMaster({ over, script });
    let handshakes = 0;
    const agents = Array.from({ length: CLIENTS }, () => new Agent({ keepAlive: true, maxSockets: 1, ca: rig.ca as string }));
    for (let round = 0; round < 4; round++) {
      if (round > 0) assert.deepEqual((await rig.hup())['connections'], { moved: { https: CLIENTS }, closed: {}, cut: {} });
      const answers = await Promise.all(agents.map((agent) => fetchBy(agent, rig)));
      for (const { socket, status } of answers) {
        assert.equal(status, 200);
        if (!seen.has(socket)) handshakes++;
        seen.add(socket);
      }
    }
    assert.equal(handshakes, CLIENTS);
    for (const agent of agents) agent.destroy();
  });
}

test('A program that asks the socket of a request finds the same behind a move, and can export the same keys', async () => {
  using folder = temporaryFolder();
  const { ca, files } = makeCertificate(folder.path);
  await using rig = await startMaster({ over, script: 'tells-tls.cjs', env: { CLIENT_CA: files.CERT } });
  for (const [options, isKnown] of [
    [{ cert: ca, key: await contents(files.KEY) }, true],
    [{}, false],
  ] as const) {
    using wire = await dialTls({ port: rig.port(), ca: rig.ca as string, ALPNProtocols: ['http/1.1'], ...options } as ConnectionOptions);
    const before = JSON.parse(await visit(wire)) as Record<string, unknown>;
    assert.deepEqual([before['peer'], before['authorized'], before['servername']], [isKnown ? 'localhost' : null, isKnown, 'localhost']);
    const exported = (wire.socket as TLSSocket).exportKeyingMaterial(32, 'test', undefined as never);
    assert.equal(before['exported'], createHash('sha256').update(exported).digest('hex'));
    await rig.hup();
    assert.deepEqual(JSON.parse(await visit(wire)), before);
    await rig.hup();
    assert.deepEqual(JSON.parse(await visit(wire)), before);
  }
});

test('Where new code writes, ends and then refuses a connection, nothing of that is sent: no number of a record is used twice', async () => {
  using folder = temporaryFolder();
  const file = join(folder.path, 'env');
  writeFileSync(file, 'FAILS_IN=2\nLAST_WORDS=never heard\n');
  await using rig = await startMaster({ over, script: 'counts-lines.mjs', flags: ['--environment-file', file] });
  using wire = await dialHttp(rig);
  await wire.until('hello from 0\n');
  wire.write('one\n');
  await wire.until('1 1 0 one\n');
  await rig.hup();
  assert.match((await rig.until('worker-note')).message, /it failed to adopt: Error: it does not want to/);
  for (const count of [2, 3]) {
    wire.write('more\n');
    await wire.until(`${count} 1 0 more\n`);
  }
  assert.equal(wire.text, 'hello from 0\n1 1 0 one\n2 1 0 more\n3 1 0 more\n');
  wire.socket.end();
  assert.equal(await wire.end(), 'FIN');
});

test('A connection of TLS 1.2 stays, is answered and ends gracefully, and the account says why', async () => {
  await using rig = await startMaster({ over, script: 'tells-tls.cjs', env: { MAX_VERSION: 'TLSv1.2' }, flags: ['--idle-grace', '500ms'] });
  assert.match((await rig.until('worker-note')).message, /hands no connection behind TLS over \(--handoff-tls\): its self-test failed: it speaks no TLS 1\.3/);
  using wire = await dialHttp(rig);
  await visit(wire);
  await rig.hup();
  assert.equal(await wire.end(), 'FIN');
  const { moved, closed } = await rig.until('generation-gone');
  assert.deepEqual([moved, closed], [{}, { https: 1 }]);
});

test('Beside connections that move, one that speaks TLS 1.2 stays, and why is counted', async () => {
  await using rig = await startMaster({ over, script: 'tells-tls.cjs' });
  using old = await dialTls({ port: rig.port(), ca: rig.ca as string, maxVersion: 'TLSv1.2' });
  using wire = await dialHttp(rig);
  for (const each of [old, wire]) await visit(each);
  const { stayed } = await rig.hup();
  assert.deepEqual(stayed, { 'its secrets are not known, as of TLS 1.2': 1 });
  assert.match((await rig.until('worker-kept')).message, /1 .*its secrets are not known, as of TLS 1\.2/);
  assert.equal(await old.end(), 'FIN');
  await visit(wire);
});

test('A connection that has carried many megabytes since it moved ends with an answer that says so, and a new one is native', async () => {
  await using rig = await startMaster({ over, script: 'tells-tls.cjs' });
  using wire = await dialHttp(rig);
  await visit(wire);
  await rig.hup();
  await visit(wire, `/fill/${17 * 1024 * 1024}`);
  while (!/^connection: close\r$/im.test(wire.text)) await visit(wire);
  assert.equal(await wire.end(), 'FIN');
});

for (const [BREAKS, why] of [
  ['getFips', /in FIPS mode a record layer in JavaScript is not allowed/],
  ['getSession', /its self-test failed: /],
] as const) {
  test(`A Node that does not let TLS connections move, for ${BREAKS}, says so in one line, and serves`, async () => {
    const flags = [`--node-arg=--require=${fixture('breaks-tls.cjs')}`, '--workers', '2', '--idle-grace', '500ms'];
    await using rig = await startMaster({ over, script: 'tells-tls.cjs', env: { BREAKS }, flags });
    assert.match((await rig.until('worker-note')).message, why);
    using wire = await dialHttp(rig);
    await once(wire.socket, 'session'); // so it was served
    await rig.hup();
    assert.equal(await wire.end(), 'FIN');
    const { moved } = await rig.until('generation-gone');
    assert.deepEqual(moved, {});
    assert.equal(rig.all('worker-note').length, 1, 'one of its two workers says it');
  });
}

test('A program without TLS is told that --handoff-tls does nothing, and so is an operator who hands nothing over', async () => {
  await using plain = await startMaster({ script: 'answers-pid.mjs', flags: ['--handoff-tls'] });
  assert.match((await plain.until('worker-note')).message, /has no server that speaks TLS, so --handoff-tls does nothing/);
  await using none = await startMaster({ over, script: 'tells-tls.cjs', flags: ['--no-handoff'] });
  assert.match((await none.until('option-without-effect')).message, /--handoff-tls does nothing beside --no-handoff/);
  using wire = await dialHttp(none);
  await visit(wire);
  assert.deepEqual(none.all('worker-note'), []);
});

const seen = new Set<unknown>();

async function fetchBy(agent: Agent, rig: Rig): Promise<{ readonly socket: unknown; readonly status: number | undefined }> {
  const options: RequestOptions = { agent, host: '127.0.0.1', port: rig.port(), servername: 'localhost' };
  return new Promise((resolve, reject) => {
    const sent = request(options, (response) => {
      const { socket } = sent;
      response
        .resume()
        .on('end', () => resolve({ socket, status: response.statusCode }))
        .on('error', reject);
    });
    sent.on('error', reject).end();
  });
}

async function contents(file: string): Promise<string> {
  const { readFile } = await import('node:fs/promises');
  return readFile(file, 'utf8');
}
