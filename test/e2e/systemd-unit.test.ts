/** What `graceful-super unit` writes: understood by systemd, true to what was asked, and of use to the program. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { cli, fixture, root, temporaryFolder } from '../helpers/rig.ts';
import { Lab, trees } from '../helpers/systemd.ts';
import { Service } from '../helpers/systemd-service.ts';

const app = fixture('systemd-app.cjs');
/** As docs/systemd.md says. */
const EXPOSURE = 1.5;

for (const tree of trees) {
  describe(`a unit for ${tree.name}`, { skip: tree.skip }, () => {
    let lab: Lab;
    before(async () => {
      lab = await Lab.boot(tree);
    });
    afterEach(async () => {
      await lab.run('systemctl', 'stop', 'app');
    });
    after(() => lab[Symbol.asyncDispose]());

    /** Writes the units outside of where systemd looks. @returns their paths inside */
    const write = async (...flags: readonly string[]): Promise<string[]> => {
      lab.write('app.cjs', readFileSync(app, 'utf8'));
      const text = await lab.check('graceful-super', 'unit', '/srv/lab/app.cjs', '--name', 'app', '--run-as', 'daemon', ...flags);
      return text.split(/^(?=# app.*, written by)/m).map((part) => lab.write(`written/${/^# (\S+),/.exec(part)?.[1]}`, part));
    };
    const written: readonly (readonly [what: string, count: number, flags: readonly string[]])[] = [
      ['as it is', 1, []],
      ['for a low port', 1, ['--listen', '127.0.0.1:80']],
      ['with sockets', 3, ['--socket', '--listen', '8080,name=web', '--listen', '[::1]:8081,name=web', '--listen', 'unix:/srv/lab/a b%c.sock,mode=0660']],
      ['with files of its own', 1, ['--log-file', '/var/log/a b/app.log', '--pid-file', '/run/app/app.pid', '--runtime-dir', '/run/app']],
    ];
    for (const [what, count, flags] of written) {
      test(`${what}, says nothing that systemd does not understand`, async () => {
        const files = await write(...flags);
        assert.equal(files.length, count);
        const { code, stdout, stderr } = await lab.run('systemd-analyze', 'verify', '--recursive-errors=no', ...files);
        assert.deepEqual([code, stdout, stderr], [0, '', '']);
      });
    }

    test('of a user, says nothing that systemd does not understand', async () => {
      lab.write('app.cjs', readFileSync(app, 'utf8'));
      const path = lab.write('written/app.service', await lab.check('graceful-super', 'unit', '/srv/lab/app.cjs', '--name', 'app', '--user-unit'));
      await lab.check('mkdir', '-p', '/run/user/0/systemd');
      const verify = ['XDG_RUNTIME_DIR=/run/user/0', 'systemd-analyze', '--user', 'verify', '--recursive-errors=no', path];
      const { code, stdout, stderr } = await lab.run('env', ...verify);
      assert.deepEqual([code, stdout, stderr], [0, '', '']);
    });

    test('denies the program as much as the documentation says', async () => {
      const [file = ''] = await write();
      const table = await lab.check('systemd-analyze', 'security', '--offline=yes', '--no-pager', file);
      const exposure = Number(/Overall exposure level for \S+: ([\d.]+)/.exec(table)?.[1]);
      assert.ok(exposure <= EXPOSURE, table);
      assert.ok(readFileSync(join(root, 'docs/systemd.md'), 'utf8').includes(`**${EXPOSURE}**`));
    });

    test('has paths and arguments as they were written', async () => {
      const folder = 'odd 50%n $HOME "q" \\b';
      mkdirSync(join(lab.folder, folder));
      writeFileSync(join(lab.folder, folder, 'my app.cjs'), readFileSync(app));
      const args = ['a b', '', '$HOME', '$' + '{HOME}', '%n', '"', "it's", ';', '\\x', '-x', 'two\nlines'];
      const make = 'cd "$1" && shift && exec graceful-super unit "./my app.cjs" --name app --node-arg --title=%t -- "$@"';
      const service = await Service.of(lab, await lab.check('sh', '-c', make, 'sh', `/srv/lab/${folder}`, ...args));
      await lab.systemctl('start', 'app');
      const facts = JSON.parse(await service.ask('/facts'));
      assert.deepEqual(facts.argv.slice(1), [`/srv/lab/${folder}/my app.cjs`, ...args]);
      assert.equal(facts.cwd, `/srv/lab/${folder}`);
    });

    test('as a user that systemd makes up, with a secret and a folder of its own', async () => {
      lab.write('token', 'sesame', 0o600);
      const service = await Service.install(lab, ['--run-as', 'dynamic'], '[Service]\nLoadCredential=token:/srv/lab/token\nStateDirectory=app\n');
      await lab.systemctl('start', 'app');
      const { uid, env } = JSON.parse(await service.ask('/facts'));
      assert.ok(uid >= 61184 && uid <= 65519, `a dynamic user, not ${uid}`);
      assert.equal(await service.ask('/read'), 'sesame');
      await service.ask('/write');
      assert.equal(await lab.check('cat', '/var/lib/app/mark'), 'kept');
      await lab.systemctl('reload', 'app');
      assert.equal(await service.ask('/read'), 'sesame', 'a new generation has it, too');
      assert.match(await service.ask('/limits'), /^Max open files +(\d{5,}) +\1 /m);
      for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'LISTEN_FDS']) assert.equal(env[name], undefined, name);
    });

    test('holds port 80 without being root', async () => {
      const service = await Service.install(lab, ['--run-as', 'daemon', '--listen', '127.0.0.1:80'], '[Service]\nPrivateNetwork=yes\nEnvironment=PORT=80\n');
      await lab.systemctl('start', 'app');
      const get = "fetch('http://127.0.0.1:80/facts').then((r) => r.json()).then(({ uid }) => console.log(uid))";
      const uid = await lab.check('nsenter', '--net', '--target', String(await service.mainPid()), '--', 'node', '--eval', get);
      assert.equal(uid, '1');
    });

    test('lets no descriptor of the master into the program', async () => {
      const service = await Service.install(lab, []);
      await lab.systemctl('start', 'app');
      const sockets = async (pid: string | number) => {
        const links = await lab.check('sh', '-c', `readlink /proc/${pid}/fd/*; test $? -le 1`); // one may close meanwhile
        return links.split('\n').filter((link) => /^socket:/.test(link));
      };
      const worker = await sockets(await service.ask());
      const master = await sockets(await service.mainPid());
      assert.ok(worker.length > 0 && master.length > 0);
      const unix = (await lab.check('cat', '/proc/net/unix')).split('\n').map((line) => line.split(/\s+/));
      const datagrams = unix.flatMap(([, , , , type, , inode]) => (type === '0002' ? [`socket:[${inode}]`] : []));
      assert.equal(
        master.some((link) => datagrams.includes(link)),
        tree.version >= 253,
      );
      assert.ok(!worker.some((link) => datagrams.includes(link)));
    });

    test('with a socket: the first connection starts the service', async () => {
      lab.write('app.cjs', readFileSync(app, 'utf8'));
      const make = ['unit', '/srv/lab/app.cjs', '--name', 'app', '--run-as', 'daemon', '--socket', '--listen', 'unix:/run/app.sock'];
      const parts = (await lab.check('graceful-super', ...make)).split(/^(?=# app.*, written by)/m);
      const units = Object.fromEntries(parts.map((part) => [/^# (\S+),/.exec(part)?.[1], part]));
      await lab.units({ ...units, 'app.service.d/test.conf': '[Service]\nEnvironment=SOCKET=/run/app.sock\n' });
      await lab.systemctl('start', 'app.socket');
      assert.equal(await lab.show('app', 'ActiveState'), 'inactive');
      const get = "require('http').get({ socketPath: '/run/app.sock', path: '/' }, (r) => r.on('data', (pid) => console.log(String(pid))))";
      const pid = await lab.check('node', '--eval', get);
      assert.match(pid, /^\d+$/);
      await lab.systemctl('stop', 'app.socket', 'app');
    });

    test('for many programs, docs/examples/graceful-super@.service', async () => {
      await lab.units({ 'graceful-super@.service': readFileSync(join(root, 'docs/examples/graceful-super@.service'), 'utf8') });
      const { code, stdout, stderr } = await lab.run('systemd-analyze', 'verify', '--recursive-errors=no', '/srv/lab/units/graceful-super@.service');
      assert.deepEqual([code, stdout, stderr], [0, '', '']);
      lab.write('app.cjs', readFileSync(app, 'utf8'));
      lab.write('app.json', JSON.stringify({ script: './app.cjs', workers: 2 }));
      await lab.check('sh', '-c', 'mkdir -p /etc/graceful-super && ln -s /srv/lab/app.json /srv/lab/app.cjs /etc/graceful-super/');
      await lab.systemctl('start', 'graceful-super@app');
      assert.equal(await lab.show('graceful-super@app', 'StatusText'), 'generation 1 serves (2 of 2 workers)');
      await lab.systemctl('reload', 'graceful-super@app');
      await lab.systemctl('stop', 'graceful-super@app');
    });
  });
}

test('installs where systemd looks, and replaces nothing that it did not write', async () => {
  using folder = temporaryFolder();
  const install = (...flags: string[]) =>
    cli(['unit', app, '--name', 'app', '--user-unit', '--systemd-version', '252', '--install', ...flags], { XDG_CONFIG_HOME: folder.path });
  const path = join(folder.path, 'systemd/user/app.service');
  const first = await install();
  assert.equal(first.code, 0);
  assert.equal(first.stdout, `written: ${path}\nnext: systemctl --user daemon-reload && systemctl --user enable --now app.service\n`);
  assert.equal((await install()).code, 0, 'the same again');
  const text = readFileSync(path, 'utf8');
  const other = await install('--workers', '2');
  assert.equal(other.code, 18);
  assert.match(other.stderr, /app\.service is there, and says something else\nhint: .*--force/);
  assert.equal(readFileSync(path, 'utf8'), text);
  assert.equal((await install('--workers', '2', '--force')).code, 0);
  assert.match(readFileSync(path, 'utf8'), / --workers 2$/m);
});

test('refuses what start would refuse, and what a unit can not say', async () => {
  const refused: readonly (readonly [args: readonly string[], code: number, message: RegExp])[] = [
    [['/nowhere.js'], 10, /cannot start \/nowhere\.js: no such file/],
    [[app, '--workers', 'x'], 3, /--workers: expected/],
    [[app, '--socket'], 2, /--socket needs an address/],
    [[app, '--socket', '--listen', 'localhost:80'], 2, /a socket unit knows addresses, not names/],
    [[app, '--systemd-version', 'x'], 2, /--systemd-version: expected a number/],
    [[app, '--run-as', 'a b'], 2, /no name of a user/],
    [[app, '--run-as', 'x', '--user-unit'], 2, /a user unit runs as its user/],
  ];
  for (const [args, code, message] of refused) {
    const result = await cli(['unit', ...args]);
    assert.equal(result.code, code, result.stderr);
    assert.match(result.stderr, message);
    assert.equal(result.stdout, '');
  }
});

test('refuses to name a copy that will not be there for long', async () => {
  using folder = temporaryFolder();
  mkdirSync(join(folder.path, '_npx'));
  const copy = join(folder.path, '_npx/graceful-super');
  symlinkSync(join(root, 'bin/graceful-super.js'), copy);
  const error = await new Promise<string>((resolve) => execFile(process.execPath, [copy, 'unit', app], (_, __, stderr) => resolve(stderr)));
  assert.match(error, /_npx\/graceful-super is a copy that npx keeps for a while\nhint: npm install --global/);
});
