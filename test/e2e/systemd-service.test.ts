/** The units that `graceful-super unit` writes, under a real systemd: start, reload, stop, and what becomes of it when somebody is killed. */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { poll } from '../helpers/rig.ts';
import { Lab, trees } from '../helpers/systemd.ts';
import { Service } from '../helpers/systemd-service.ts';

const dropIn = '[Unit]\nStartLimitIntervalSec=0\n[Service]\nWatchdogSec=3\nRestartSec=0\n';
const short = ['--drain-timeout', '4s', '--kill-timeout', '1s', '--idle-grace', '0s'];

for (const tree of trees) {
  const isNotifyReload = tree.version >= 253;
  describe(`a service on ${tree.name}`, { skip: tree.skip }, () => {
    let lab: Lab;
    let service: Service;
    before(async () => {
      lab = await Lab.boot(tree);
      service = await Service.install(lab, short, dropIn);
    });
    afterEach(async () => {
      await lab.run('systemctl', 'stop', 'app');
      assert.deepEqual(await lab.processes('app'), []);
    });
    after(() => lab[Symbol.asyncDispose]());

    test('start returns when the program serves', async () => {
      service.mark('wait');
      const starting = lab.run('systemctl', 'start', 'app');
      await lab.until('app', 'StatusText', (text) => text === 'starting');
      assert.equal(await lab.show('app', 'ActiveState'), 'activating');
      service.unmark('wait');
      assert.equal((await starting).code, 0);
      assert.equal(await service.statusText(), 'generation 1 serves (1 of 1 workers)');
      assert.match(await service.ask(), /^\d+$/);
    });

    test('a start that fails is a failed start, and says why', async () => {
      service.mark('broken');
      await lab.units({ 'app.service.d/once.conf': '[Service]\nRestart=no\n' });
      const { code } = await lab.run('systemctl', 'start', 'app');
      service.unmark('broken');
      assert.equal(code, 1);
      assert.match(await service.statusText(), /start failed: .*this release is broken/);
      await lab.units({ 'app.service.d/once.conf': '' });
    });

    test('reload returns when the new code serves', async () => {
      await lab.systemctl('start', 'app');
      service.mark('wait');
      const reloading = lab.run('systemctl', 'reload', 'app');
      await lab.until('app', 'StatusText', (text) => text === 'generation 1 serves (1 of 1 workers); generation 2 starts');
      assert.equal(await lab.show('app', 'ActiveState'), 'reloading');
      service.unmark('wait');
      assert.equal((await reloading).code, 0);
      assert.equal((await service.status()).generation, 2);
      await lab.until('app', 'StatusText', (text) => /^generation 2 serves \(1 of 1 workers\); .*reloaded: generation 2 serves in place of 1/.test(text));
    });

    test('a reload that fails leaves the old code, and tells', async () => {
      await lab.systemctl('start', 'app');
      const before = await service.ask();
      service.mark('broken');
      const { code } = await lab.run('systemctl', 'reload', 'app');
      service.unmark('broken');
      assert.equal(code, isNotifyReload ? 0 : 1, 'notify-reload has no word for a failure');
      assert.equal(await lab.show('app', 'ActiveState'), 'active');
      assert.match(await service.statusText(), /^generation 1 serves \(1 of 1 workers\); .*reload failed, rolled back: .*this release is broken/);
      assert.match(await lab.journal('app', '--priority=err', '--output=cat'), /reload failed, rolled back: .*this release is broken/);
      assert.equal(await service.ask(), before);
    });

    test('a unit for an older systemd fails the reload wherever it runs', { skip: isNotifyReload ? false : 'it is the same unit here' }, async () => {
      await Service.install(lab, [...short, '--systemd-version', '252'], dropIn);
      await lab.systemctl('start', 'app');
      assert.equal((await lab.run('systemctl', 'reload', 'app')).code, 0);
      service.mark('broken');
      const { code } = await lab.run('systemctl', 'reload', 'app');
      service.unmark('broken');
      assert.equal(code, 1);
      assert.equal(await lab.show('app', 'ActiveState'), 'active');
      await lab.systemctl('stop', 'app');
      await Service.install(lab, short, dropIn);
    });

    test('many reloads at once end, and each is answered', async () => {
      await lab.systemctl('start', 'app');
      const reloads = Array.from({ length: 6 }, (_, index) =>
        index % 2 === 0 ? lab.run('systemctl', 'reload', 'app') : lab.run('graceful-super', 'reload', 'app'),
      );
      for (const { code, stderr } of await Promise.all(reloads)) assert.deepEqual([code, stderr], [0, '']);
      await lab.until('app', 'ActiveState', (state) => state === 'active');
      assert.equal((await service.status()).reload.phase, 'idle');
      assert.equal((await lab.run('systemctl', 'reload', 'app')).code, 0);
    });

    test('a reload by hand is one for systemd, too', async () => {
      await lab.systemctl('start', 'app');
      service.mark('wait');
      const reloading = lab.run('graceful-super', 'reload', 'app');
      await lab.until('app', 'ActiveState', (state) => state === 'reloading');
      service.unmark('wait');
      assert.equal((await reloading).code, 0);
      await lab.until('app', 'ActiveState', (state) => state === 'active');
    });

    test('restart is a new master', async () => {
      await lab.systemctl('start', 'app');
      const old = await service.mainPid();
      await lab.systemctl('restart', 'app');
      assert.notEqual(await service.mainPid(), old);
      assert.equal((await service.status()).generation, 1);
      assert.equal(await lab.show('app', 'NRestarts'), '0');
    });

    test('a master that hangs is replaced', async () => {
      await lab.systemctl('start', 'app');
      const [old, worker] = [await service.mainPid(), await service.ask()];
      await lab.systemctl('kill', '--kill-whom=main', '--signal=STOP', 'app');
      await lab.until('app', 'NRestarts', (restarts) => restarts === '1');
      await lab.until('app', 'ActiveState', (state) => state === 'active');
      assert.notEqual(await service.mainPid(), old);
      assert.match(await lab.journal('app', '--output=cat'), /Watchdog timeout/);
      assert.notEqual(await service.ask(), worker);
    });

    test('a master that turns is left alone, for longer than the watchdog waits', async () => {
      await lab.systemctl('start', 'app');
      const fed = await lab.show('app', 'WatchdogTimestampMonotonic');
      await lab.until('app', 'WatchdogTimestampMonotonic', (now) => Number(now) > Number(fed) + 4_500_000);
      assert.equal(await lab.show('app', 'NRestarts'), '0');
    });

    test('a killed master leaves no worker behind', async () => {
      await lab.systemctl('start', 'app');
      const worker = await service.ask();
      assert.ok(await lab.kill(worker, 'STOP'), 'it could not end by itself');
      await lab.systemctl('kill', '--kill-whom=main', '--signal=KILL', 'app');
      await lab.until('app', 'NRestarts', (restarts) => restarts === '1');
      await lab.until('app', 'ActiveState', (state) => state === 'active');
      assert.equal(await lab.kill(worker, '0'), false);
      assert.equal((await lab.processes('app')).length, 3, 'a master, its worker, and the shell that looks after it');
    });

    test('stop waits for what is open, longer than TimeoutStopSec if need be', async () => {
      await Service.install(lab, ['--drain-timeout', '1m'], `${dropIn}TimeoutStopSec=1\n`);
      await lab.systemctl('start', 'app');
      const answer = service.ask('/slow');
      await poll(
        async () => (await service.status()).workers[0]?.connections === 1,
        () => 'nobody asks',
      );
      const stopping = lab.run('systemctl', 'stop', 'app');
      await lab.until('app', 'ActiveState', (state) => state === 'deactivating');
      const since = BigInt(await lab.show('app', 'StateChangeTimestampMonotonic'));
      await lab.until('app', 'ActiveState', () => process.hrtime.bigint() / 1000n > since + 2_500_000n);
      service.mark('finish');
      assert.equal((await stopping).code, 0);
      assert.equal(await answer, 'late');
      assert.equal(await lab.show('app', 'Result'), 'success');
      service.unmark('finish');
      await Service.install(lab, short, dropIn);
    });

    test('a stuck worker does not hold up a stop for good', async () => {
      await lab.systemctl('start', 'app');
      assert.ok(await lab.kill(await service.ask(), 'STOP'));
      await lab.systemctl('stop', 'app');
      assert.equal(await lab.show('app', 'Result'), 'success');
    });

    test('the journal has priorities, and the program its own lines', async () => {
      await lab.systemctl('start', 'app');
      assert.ok(await lab.kill(await service.ask(), 'KILL'));
      await lab.until('app', 'StatusText', (text) => text === 'generation 1 serves (1 of 1 workers)');
      const main = await service.mainPid();
      const lines = (await lab.journal('app', '--output=json')).split('\n').map((line) => JSON.parse(line) as Record<string, string>);
      const ofMaster = lines.filter(({ _PID }) => _PID === String(main));
      const crash = ofMaster.find(({ MESSAGE }) => /^worker 1 .*was killed by SIGKILL$/.test(MESSAGE ?? ''));
      assert.equal(crash?.['PRIORITY'], '3');
      assert.match(ofMaster.find(({ PRIORITY }) => PRIORITY === '6')?.['MESSAGE'] ?? '', /^starting$/);
      const own = lines.find(({ MESSAGE }) => MESSAGE === 'the program speaks');
      assert.ok(own && own['_PID'] !== String(main), 'the worker writes to the journal itself');
    });
  });
}
