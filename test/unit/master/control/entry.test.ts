import assert from 'node:assert/strict';
import { lchownSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { entryOf } from '../../../../src/master/control/entry.ts';
import { Distrust } from '../../../../src/trust.ts';

const OTHER = 64_321;
const own = process.getuid?.() ?? 0;
const needsRoot = { skip: own === 0 ? false : 'needs root' };

describe('the control socket of a name', () => {
  let folder: string;
  let server: Server;
  const find = () => entryOf(folder, 'web', [own]);

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'gs-'));
    mkdirSync(join(folder, 'web.lock'));
    server = createServer();
    await new Promise<void>((resolve) => server.listen(join(folder, 'web.lock/entry'), resolve));
    symlinkSync('web.lock/entry', join(folder, 'web.sock'));
  });

  afterEach(() => {
    server.close();
    rmSync(folder, { recursive: true });
  });

  test('is the one entry of its lock', () => assert.equal(find(), join(folder, 'web.lock/entry')));

  for (const path of ['web.sock', 'web.lock', 'web.lock/entry'])
    test(`is not believed where ${path} is somebody else’s`, needsRoot, () => {
      lchownSync(join(folder, path), OTHER, OTHER);
      assert.throws(find, new Distrust(`it belongs to another user (uid ${OTHER})`));
    });

  for (const target of ['other.lock/entry', 'web.lock/..', 'web.lock/entry/deeper', 'web.lock', '../web.lock/entry', '/tmp/entry'])
    test(`is not where a link leads to ${target}`, () => {
      unlinkSync(join(folder, 'web.sock'));
      symlinkSync(target, join(folder, 'web.sock'));
      assert.throws(find, new Distrust('it is not what a master makes'));
    });

  test('is no file that is no socket', () => {
    server.close();
    writeFileSync(join(folder, 'web.lock/entry'), '');
    assert.throws(find, new Distrust('it is no control socket'));
  });

  test('is none where its link is a file', () => {
    unlinkSync(join(folder, 'web.sock'));
    writeFileSync(join(folder, 'web.sock'), 'web.lock/entry');
    assert.throws(find, new Distrust('it is not what a master makes'));
  });
});
