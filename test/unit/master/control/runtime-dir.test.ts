/** The folder of the control sockets. */
import assert from 'node:assert/strict';
import { chmodSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { GracefulError } from '../../../../src/errors.ts';
import { makeRuntimeDir } from '../../../../src/master/control/runtime-dir.ts';
import { makeFolder } from '../../helpers/folder.ts';

test('it is made with what leads to it, for its user alone; one that is there stays as it is', () => {
  using folder = makeFolder();
  const path = join(folder.path, 'made', 'for it');
  makeRuntimeDir(path);
  for (const made of [path, join(folder.path, 'made')]) assert.equal(statSync(made).mode & 0o777, 0o700);
  chmodSync(path, 0o750);
  makeRuntimeDir(path);
  assert.equal(statSync(path).mode & 0o777, 0o750);
});

test('a folder that is a file, lies in one, or is where nothing can be made, can not be used', () => {
  using folder = makeFolder();
  const file = folder.write('file', '');
  for (const path of [file, join(file, 'below'), ...(process.platform === 'linux' ? ['/proc/none/below'] : [])]) {
    assert.throws(
      () => makeRuntimeDir(path),
      (error) => {
        assert.ok(error instanceof GracefulError);
        assert.equal(error.code, 'control-folder-unwritable');
        assert.ok(error.message.startsWith(`cannot use the control folder ${path}: `), error.message);
        assert.equal(error.hint, 'pass --runtime-dir with a folder of yours');
        return true;
      },
    );
  }
});
