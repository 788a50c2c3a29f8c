/** What systemd is told, from the fleet as it is. */
import assert from 'node:assert/strict';
import { chmodSync, readFileSync } from 'node:fs';
import { delimiter } from 'node:path';
import { describe, test } from 'node:test';
import { emptyFleet } from '../../../../src/core/fleet.ts';
import { openNotifier, startNotifier } from '../../../../src/master/systemd/notify.ts';
import { type NotifyMessage, openNotifyChannel } from '../../../../src/master/systemd/notify-channel.ts';
import { makeFolder } from '../../helpers/folder.ts';
import { policyWith } from '../../helpers/policy.ts';
import { Story } from '../../helpers/story.ts';

const pidOf = (worker: number) => 1000 + worker;

/** A story, and what systemd hears of it. */
class Told extends Story {
  readonly messages: NotifyMessage[] = [];
  readonly #notifier = startNotifier({ send: (message) => void this.messages.push(message), close: () => Promise.resolve() }, Number.POSITIVE_INFINITY, {
    pidOf,
    turn() {},
  });

  override tell(...args: Parameters<Story['tell']>): ReturnType<Story['tell']> {
    const effects = super.tell(...args);
    this.#notifier.look(this.fleet);
    return effects;
  }

  /** Changes of state since the last time, and the latest status. */
  heard(): string {
    const messages = this.messages.splice(0);
    const states = messages.flatMap((message) => Object.keys(message).filter((key) => ['READY', 'RELOADING', 'STOPPING'].includes(key)));
    return [...states, messages.findLast(({ STATUS }) => STATUS !== undefined)?.['STATUS']].filter(Boolean).join(' | ');
  }
}

const serves = (generation: number) => `generation ${generation} serves (1 of 1 workers)`;

describe('systemd hears', () => {
  test('of a start', () => {
    const story = new Told(policyWith());
    story.reload();
    assert.deepEqual(story.messages, [{ STATUS: 'starting', EXTEND_TIMEOUT_USEC: '15000000' }]);
    story.resolve();
    story.serveAll();
    assert.deepEqual(story.messages.at(-1), { READY: '1', MAINPID: String(process.pid), STATUS: serves(1) });
  });

  test('of a reload, and what still drains', () => {
    const story = new Told(policyWith()).started();
    story.heard();
    story.reload();
    story.resolve();
    assert.match(story.messages[0]?.['MONOTONIC_USEC'] ?? '', /^\d+$/);
    assert.equal(story.heard(), `RELOADING | ${serves(1)}; generation 2 starts`);
    story.serveAll();
    assert.equal(story.heard(), `${serves(2)}; generation 1 drains (1 worker)`);
    story.retire(1);
    assert.equal(story.heard(), `READY | ${serves(2)}; generation 1 drains (1 worker); reloaded: generation 2 serves in place of 1 after 0 ms`);
    story.drained(1);
    story.exit(1);
    assert.equal(story.heard(), `${serves(2)}; reloaded: generation 2 serves in place of 1 after 0 ms`);
  });

  test('that it is ready again when a reload has failed, and why', () => {
    const story = new Told(policyWith()).started();
    story.reload();
    story.heard();
    story.reject();
    assert.equal(story.heard(), `READY | ${serves(1)}; reload failed, rolled back: Error: boom; generation 1 goes on (1 worker serving)`);
  });

  test('of the end of a reload that another one follows at once', () => {
    const story = new Told(policyWith()).started();
    story.heard();
    story.reload();
    story.reload();
    story.reject();
    assert.match(story.heard(), /^RELOADING \| READY \| RELOADING \| /);
    story.reject();
    assert.match(story.heard(), /^READY \| /);
  });

  test('of a crash loop', () => {
    const story = new Told(policyWith({ restartLimit: 1 })).started();
    story.heard();
    story.exit(1);
    assert.equal(story.heard(), 'no worker of generation 1 serves');
    for (const worker of [2, 3]) {
      story.nextTick();
      story.exit(worker);
    }
    assert.equal(story.heard(), 'no worker of generation 1 serves: crash loop');
  });

  test('of a stop, that it takes its time, and why a start failed', () => {
    const story = new Told(policyWith());
    story.reload();
    story.heard();
    story.reject();
    assert.equal(story.messages.at(-1)?.['EXTEND_TIMEOUT_USEC'], '15000000');
    assert.equal(story.heard(), 'STOPPING | stopping; start failed: Error: boom');
  });
});

test('without systemd nobody is told anything', () => {
  const notifier = openNotifier({ PATH: '/nowhere', WATCHDOG_USEC: '1000' }, { pidOf, turn: () => assert.fail(), complain: assert.fail });
  notifier.look(emptyFleet(policyWith()));
  assert.equal(openNotifyChannel({}, assert.fail), undefined);
  assert.equal(openNotifyChannel({ LISTEN_PID: '1', LISTEN_FDS: '1', LISTEN_FDNAMES: 'notify' }, assert.fail), undefined);
});

test('by systemd-notify: one at a time, no change of state left out, of the rest the latest', async (t) => {
  using folder = makeFolder();
  const { PATH = '' } = process.env;
  folder.write('systemd-notify', `#!/bin/sh\nprintf '%s|' "$@" >> ${folder.path}/told\necho >> ${folder.path}/told\n`);
  chmodSync(`${folder.path}/systemd-notify`, 0o755);
  process.env['PATH'] = folder.path + delimiter + PATH;
  t.after(() => {
    process.env['PATH'] = PATH;
  });
  const channel = openNotifyChannel({ NOTIFY_SOCKET: '/nowhere' }, assert.fail);
  assert.ok(channel);
  for (const message of [{ STATUS: 'a' }, { STATUS: 'b', WATCHDOG: '1' }, { RELOADING: '1' }, { STATUS: 'c' }, { READY: '1', STATUS: 'd' }, { STATUS: 'e' }])
    channel.send(message as NotifyMessage);
  await channel.close();
  assert.deepEqual(readFileSync(`${folder.path}/told`, 'utf8').split('\n'), ['STATUS=b|WATCHDOG=1|', 'RELOADING=1|STATUS=c|', 'READY=1|STATUS=e|', '']);
});

test('where systemd can not be reached, that is said once', () => {
  const complaints: string[] = [];
  const nobody = Array.from({ length: 5000 }, () => 'x').join(':');
  const env = { LISTEN_PID: String(process.pid), LISTEN_FDS: '5001', LISTEN_FDNAMES: `${nobody}:notify` };
  const channel = openNotifyChannel(env, (text) => complaints.push(text));
  channel?.send({ READY: '1' });
  channel?.send({ STATUS: 'x' });
  assert.deepEqual(complaints, ['cannot notify systemd: EBADF: bad file descriptor, write']);
});
