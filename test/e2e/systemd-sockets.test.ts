/** Listeners that outlive the master, with a real systemd: by a `.socket` unit, or by the descriptor store. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, statSync, symlinkSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { ask, poll } from '../helpers/rig.ts';
import { type StormResult, startStorm } from '../helpers/storm.ts';
import { Lab, trees } from '../helpers/systemd.ts';
import { dial } from '../helpers/wire.ts';

const host = '127.0.0.1';
const fixtures = '/opt/graceful-super/test/fixtures';

/** Three restarts that no client notices. */
async function restartUnderLoad(lab: Lab, port: number): Promise<StormResult> {
  const storm = startStorm({ port, keepAlive: 10, fresh: 10 });
  for (let round = 0; round < 3; round++) {
    await storm.answered(100);
    await lab.systemctl('restart', 'app');
  }
  await storm.answered(300);
  const result = await storm.stop();
  assert.deepEqual(result.failures, []);
  return result;
}

for (const tree of trees) {
  describe(`${tree.name}: a .socket unit`, { skip: tree.skip }, () => {
    test('The first connection starts the service, and is served; a restart under load refuses nobody', async (context) => {
      await using lab = await Lab.boot(tree);
      const port = await freePort();
      await lab.units({ 'app.socket': `[Socket]\nListenStream=${host}:${port}\n`, 'app.service': service({ port }) });
      await lab.systemctl('start', 'app.socket');
      assert.equal(await lab.show('app', 'ActiveState'), 'inactive');
      assert.equal((await ask(`http://${host}:${port}`)).status, 200);
      context.diagnostic(accountOf(await restartUnderLoad(lab, port)));
      assert.match(await lab.journal('app'), new RegExp(`inherited from systemd: ${host}:${port} \\(app\\.socket\\)`));
    });

    test('Several sockets, by address, by name, and as a path; who comes after a stop is served by the next start', async () => {
      await using lab = await Lab.boot(tree);
      const [port, other] = [await freePort(), await freePort()];
      const options = lab.write('options.json', JSON.stringify([{ port }, { path: '/srv/lab/link/app.sock' }]));
      mkdirSync(join(lab.folder, 'run'));
      symlinkSync('run', join(lab.folder, 'link')); // as /var/run is
      await lab.units({
        'app.socket': `[Socket]\nListenStream=${port}\nListenStream=/srv/lab/run/app.sock\nSocketMode=0600\nRemoveOnStop=yes\n`,
        'app.service': service({ script: 'listens.cjs', args: options }),
        'web.socket': `[Socket]\nListenStream=${host}:${other}\nFileDescriptorName=web\n`,
        'web.service': service({ name: 'web', script: 'listens-by-name.mjs' }),
      });
      await lab.systemctl('start', 'app.socket', 'web.socket');
      const path = join(lab.folder, 'run/app.sock');
      const { ino } = statSync(path);
      const askAll = () => Promise.all([ask(`http://${host}:${port}`), ask('http://localhost', { socketPath: path }), ask(`http://${host}:${other}`)]);
      const [overPort, overPath, byName] = await askAll();
      assert.equal(overPort.text, overPath.text);
      assert.notEqual(overPort.text, byName.text);
      await lab.systemctl('stop', 'app', 'web');
      assert.deepEqual([statSync(path).ino, statSync(path).mode & 0o777], [ino, 0o600]);
      const again = await askAll();
      assert.notEqual(again[0].text, overPort.text);
    });
  });

  const skip = tree.skip || (tree.version >= 254 ? false : `${tree.name} has no store that a child can fill`);

  describe(`${tree.name}: the descriptor store`, { skip }, () => {
    test('A restart under load refuses nobody', async (context) => {
      await using lab = await Lab.boot(tree);
      const port = await startStored(lab);
      context.diagnostic(accountOf(await restartUnderLoad(lab, port)));
      assert.equal(await lab.show('app', 'NFileDescriptorStore'), '1');
    });

    for (const killMode of ['control-group', 'mixed']) {
      test(`A master that is killed under load leaves its listener: nobody is refused (KillMode=${killMode})`, async (context) => {
        await using lab = await Lab.boot(tree);
        const port = await startStored(lab, `KillMode=${killMode}`);
        const storm = startStorm({ port, keepAlive: 10, fresh: 10 });
        for (let round = 1; round <= 3; round++) {
          await storm.answered(100);
          await lab.systemctl('kill', '--kill-whom=main', '--signal=KILL', 'app');
          await lab.until('app', 'NRestarts', (value) => Number(value) === round);
        }
        await storm.answered(300);
        const result = await storm.stop();
        context.diagnostic(accountOf(result));
        assert.deepEqual(
          result.failures.filter((failure) => failure.includes('ECONNREFUSED')),
          [],
        );
        if (killMode === 'control-group') assert.deepEqual(result.failures, []);
      });
    }

    test('Port 0 and a Unix socket are the same after a master was killed; what the new code does not use leaves the store', async () => {
      await using lab = await Lab.boot(tree);
      const path = join(lab.folder, 'app.sock');
      const options = (...all: readonly object[]) => lab.write('options.json', JSON.stringify(all));
      const file = options({ port: 0, host }, { path: '/srv/lab/app.sock' });
      await lab.units({ 'app.service': service({ script: 'listens.cjs', args: file, more: stored }) });
      await lab.systemctl('start', 'app');
      await lab.until('app', 'NFileDescriptorStore', (value) => value === '2');
      const [first] = await portsIn(lab, 1);
      const { ino } = statSync(path);
      using waiting = await dial({ path });
      await lab.systemctl('kill', '--kill-whom=main', '--signal=KILL', 'app');
      waiting.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
      const [, second] = await portsIn(lab, 2);
      assert.equal(second, first);
      assert.equal(statSync(path).ino, ino);
      assert.equal((await ask('http://localhost', { socketPath: path })).status, 200);
      options({ port: 0, host });
      await lab.check('graceful-super', 'reload', 'app', '--allow-address-change');
      await lab.until('app', 'NFileDescriptorStore', (value) => value === '1');
      await poll(
        () => !existsSync(path),
        () => 'the path is still there',
      );
      await lab.systemctl('stop', 'app');
      assert.equal(await lab.show('app', 'NFileDescriptorStore'), '0');
    });

    test('A stored socket whose path is gone is bound anew', async () => {
      await using lab = await Lab.boot(tree);
      const file = lab.write('options.json', JSON.stringify([{ path: '/run/app/app.sock' }]));
      await lab.units({ 'app.service': service({ script: 'listens.cjs', args: file, more: `${stored}\nRuntimeDirectory=app` }) });
      await lab.systemctl('start', 'app');
      await portsIn(lab, 1);
      await lab.until('app', 'NFileDescriptorStore', (value) => value === '1');
      await lab.systemctl('restart', 'app'); // systemd removes the folder meanwhile
      await portsIn(lab, 2);
      await lab.check('node', '-e', 'require("net").connect("/run/app/app.sock").on("connect", () => process.exit())');
      assert.equal(await lab.show('app', 'NFileDescriptorStore'), '1');
    });

    test('A listener that nobody has listened on yet is kept', async () => {
      await using lab = await Lab.boot(tree);
      await lab.units({ 'app.service': service({ flags: `--listen ${host}:0`, more: `${stored}\nEnvironment=HOST=127.0.0.2` }) });
      await lab.systemctl('start', 'app');
      const [first] = await portsIn(lab, 1);
      await lab.until('app', 'NFileDescriptorStore', (value) => value === '2');
      await lab.systemctl('kill', '--kill-whom=main', '--signal=KILL', 'app');
      assert.deepEqual(await portsIn(lab, 2), [first, first]);
    });

    test('What has no room is said, and ends with the master', async () => {
      await using lab = await Lab.boot(tree);
      const file = lab.write('options.json', JSON.stringify([{ path: '/srv/lab/app.sock' }, { path: '/srv/lab/other.sock' }]));
      await lab.units({ 'app.service': service({ script: 'listens.cjs', args: file, more: 'NotifyAccess=all\nFileDescriptorStoreMax=1' }) });
      await lab.systemctl('start', 'app');
      await portsIn(lab, 1);
      await lab.until('app', 'NFileDescriptorStore', (value) => value === '1');
      assert.match(await lab.journal('app'), /will not outlive this master: there is no room for unix:\/srv\/lab\/other\.sock/);
      await lab.systemctl('stop', 'app');
      assert.deepEqual([existsSync(join(lab.folder, 'app.sock')), existsSync(join(lab.folder, 'other.sock'))], [true, false]);
    });

    test('As a user without rights, and with a .socket unit, whose sockets it does not double', async () => {
      await using lab = await Lab.boot(tree);
      const [port, other] = [await freePort(), await freePort()];
      const file = lab.write('options.json', JSON.stringify([{ port }, { port: other, host }]));
      const more = `${stored}\nDynamicUser=yes\nRuntimeDirectory=app\nEnvironment=GRACEFUL_SUPER_RUNTIME_DIR=/run/app`;
      await lab.units({ 'app.socket': `[Socket]\nListenStream=${port}\n`, 'app.service': service({ script: 'listens.cjs', args: file, more }) });
      await lab.systemctl('start', 'app.socket', 'app');
      await lab.until('app', 'NFileDescriptorStore', (value) => value === '1');
      await lab.systemctl('kill', '--kill-whom=main', '--signal=KILL', 'app');
      assert.equal((await ask(`http://${host}:${other}`)).status, 200);
      assert.equal((await ask(`http://${host}:${port}`)).status, 200);
      await lab.until('app', 'NFileDescriptorStore', (value) => value === '1');
    });
  });
}

const stored = 'NotifyAccess=all\nFileDescriptorStoreMax=16';

interface ServiceOptions {
  readonly name?: string;
  readonly script?: string;
  readonly port?: number;
  readonly args?: string;
  /** More flags. */
  readonly flags?: string;
  /** More lines. */
  readonly more?: string;
}

function service({ name = 'app', script = 'http-echo.cjs', port = 0, args = '', flags = '', more = '' }: ServiceOptions): string {
  const all = `--name ${name} --idle-grace 500ms --log-format json ${flags}`;
  return [
    '[Service]',
    'Type=exec',
    `ExecStart=/usr/local/bin/graceful-super start ${fixtures}/${script} ${all} -- ${args}`,
    `Environment=PORT=${port}`,
    'Restart=always',
    'RestartSec=0',
    more,
    '',
  ].join('\n');
}

/** A service that keeps its listener in the store. @returns the port */
async function startStored(lab: Lab, more = ''): Promise<number> {
  const port = await freePort();
  await lab.units({ 'app.service': service({ port, more: `StartLimitIntervalSec=0\n${stored}\n${more}` }) });
  await lab.systemctl('start', 'app');
  await lab.until('app', 'NFileDescriptorStore', (value) => value === '1');
  await portsIn(lab, 1);
  return port;
}

/** The port that each start has announced, once so many starts have. */
async function portsIn(lab: Lab, starts: number): Promise<string[]> {
  let ports: string[] = [];
  await poll(
    async () => {
      const lines = (await lab.journal('app', '--output=cat')).split('\n').filter((line) => line.includes('"event":"master-ready"'));
      ports = lines.map((line) => /127\.0\.0\.1:(\d+)/.exec(line)?.[1] ?? '');
      return ports.length >= starts;
    },
    () => `${ports.length} of ${starts} starts`,
  );
  return ports;
}

function accountOf({ answered, opened, resets, failures, byPid }: StormResult): string {
  const kinds = new Map<string, number>();
  for (const failure of failures) {
    const kind = /(E[A-Z]{4,}|FIN) after/.exec(failure)?.[1] ?? 'other';
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  }
  const failed = [...kinds].map(([kind, count]) => `${count} ${kind}`).join(', ') || 'none';
  return `${answered} requests answered by ${byPid.size} workers, failed: ${failed}; ${opened} connections, ${resets} resets`;
}

/** Below the ports of clients. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 20_000);
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => void server.once('error', () => resolve(false)).listen(port, () => resolve(true)));
    await new Promise((resolve) => server.close(resolve));
    if (isFree) return port;
  }
}
