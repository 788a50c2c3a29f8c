/** The fixture itself: a real systemd, booted for a test. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Lab, trees } from '../helpers/systemd.ts';

for (const tree of trees) {
  describe(`a lab with ${tree.name}`, { skip: tree.skip }, () => {
    test('boots, runs a unit, keeps its journal', async () => {
      await using lab = await Lab.boot(tree);
      await lab.units({ 'hello.service': '[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/bin/node --print "6 * 7"\n' });
      await lab.systemctl('start', 'hello');
      assert.equal(await lab.show('hello', 'ActiveState'), 'active');
      assert.match(await lab.journal('hello', '--output=cat'), /^42$/m);
      assert.match(await lab.check('graceful-super', '--version'), /^\d/);
    });
  });
}
