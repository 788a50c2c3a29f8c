import assert from 'node:assert/strict';
import { utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { refuseHeld } from '../../../src/master/pid-file.ts';
import { temporaryFolder } from '../../helpers/rig.ts';

test('A pid file is held by a process that runs, unless that began after the file was written: its number was given out again', {
  skip: process.platform === 'linux' ? false : 'it takes /proc',
}, () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'pid');
  writeFileSync(path, `${process.ppid}\n`);
  assert.throws(() => refuseHeld(path), new RegExp(`it is that of process ${process.ppid}, which is running`));
  utimesSync(path, 1, 1);
  refuseHeld(path);
});

for (const content of ['', 'none', '0', `${process.pid}\n`])
  test(`A pid file that holds ${content === `${process.pid}\n` ? 'our own number' : JSON.stringify(content)} is held by nobody`, () => {
    using folder = temporaryFolder();
    const path = join(folder.path, 'pid');
    writeFileSync(path, content);
    refuseHeld(path);
  });
