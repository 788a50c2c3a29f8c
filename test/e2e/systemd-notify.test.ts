/** What systemd is told, and when: proved against a real one. */
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Lab, trees } from '../helpers/systemd.ts';

/** Serves when FOLDER/go is there; FOLDER/broken fails it. */
const program = `
const fs = require('node:fs');
if (fs.existsSync('/srv/lab/broken')) throw new Error('this release is broken');
const server = require('node:http').createServer((request, response) => response.end(String(process.pid)));
const look = () => fs.existsSync('/srv/lab/go') ? server.listen('/srv/lab/app.sock') : setTimeout(look, 5);
look();
`;

const unit = (lines: readonly string[]) => `[Service]
NotifyAccess=all
ExecStart=/usr/bin/node /opt/graceful-super/bin/graceful-super.js start /srv/lab/app.cjs --name app --drain-timeout 2s --kill-timeout 1s
Restart=on-failure
RestartSec=0
KillMode=mixed
${lines.join('\n')}
`;

for (const tree of trees) {
  const isNew = tree.version >= 253;
  describe(`notifying ${tree.name}`, { skip: tree.skip }, () => {
    let lab: Lab;
    before(async () => {
      lab = await Lab.boot(tree);
      lab.write('app.cjs', program);
      lab.write('go', '');
      const way = isNew
        ? ['Type=notify-reload', 'OpenFile=/run/systemd/notify:notify']
        : ['Type=notify', 'ExecReload=/usr/local/bin/graceful-super reload app'];
      await lab.units({ 'app.service': unit(way) });
    });
    after(() => lab[Symbol.asyncDispose]());
    const status = () => lab.show('app', 'StatusText');
    test('start waits until it serves', async () => {
      rmSync(join(lab.folder, 'go'));
      const starting = lab.run('systemctl', 'start', 'app');
      assert.equal(await lab.until('app', 'StatusText', (text) => text === 'starting'), 'starting');
      assert.equal(await lab.show('app', 'ActiveState'), 'activating');
      lab.write('go', '');
      assert.equal((await starting).code, 0);
      assert.equal(await status(), 'generation 1 serves (1 of 1 workers)');
    });
    test('reload waits until the new code serves', async () => {
      rmSync(join(lab.folder, 'go'));
      const reloading = lab.run('systemctl', 'reload', 'app');
      await lab.until('app', 'ActiveState', (state) => state === 'reloading');
      await lab.until('app', 'StatusText', (text) => text.startsWith('generation 1 serves (1 of 1 workers); generation 2 starts'));
      lab.write('go', '');
      assert.equal((await reloading).code, 0);
      await lab.until('app', 'StatusText', (text) => /^generation 2 serves \(1 of 1 workers\); reloaded: generation 2 serves in place of 1/.test(text));
    });
  });
}
