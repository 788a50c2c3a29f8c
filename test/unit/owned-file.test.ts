/** What the master made is removed only while it is the very file it made. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, renameSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { isStillOurs, rememberFile, removeIfOurs } from '../../src/owned-file.ts';
import { makeFolder } from './helpers/folder.ts';

test('a file of ours is removed', () => {
  using folder = makeFolder();
  const file = rememberFile(folder.write('a', ''));
  assert.equal(isStillOurs(file), true);
  removeIfOurs(file);
  assert.equal(existsSync(file.path), false);
});

test('a file that somebody put in its place stays', () => {
  using folder = makeFolder();
  const file = rememberFile(folder.write('a', ''));
  renameSync(folder.write('b', 'theirs'), file.path);
  assert.equal(isStillOurs(file), false);
  removeIfOurs(file);
  assert.equal(existsSync(file.path), true);
});

test('a later file stays even where it has the same inode', () => {
  using folder = makeFolder();
  const file = { ...rememberFile(folder.write('a', '')), birthtimeMs: 1 };
  removeIfOurs(file);
  assert.equal(existsSync(file.path), true);
});

test('an empty folder of ours is removed, one that is in use stays', () => {
  using folder = makeFolder();
  const path = join(folder.path, 'lock');
  mkdirSync(path);
  const lock = rememberFile(path);
  writeFileSync(join(path, 'entry'), '');
  removeIfOurs(lock);
  assert.equal(existsSync(path), true);
  unlinkSync(join(path, 'entry'));
  removeIfOurs(lock);
  assert.equal(existsSync(path), false);
});

test('a link of ours is removed, not what it leads to', () => {
  using folder = makeFolder();
  const target = folder.write('target', '');
  const link = join(folder.path, 'link');
  symlinkSync(target, link);
  removeIfOurs(rememberFile(link));
  assert.equal(existsSync(link), false);
  assert.equal(existsSync(target), true);
});

test('what is gone already is no error to remove, but one to remember', () => {
  using folder = makeFolder();
  const file = rememberFile(folder.write('a', ''));
  unlinkSync(file.path);
  removeIfOurs(file);
  assert.equal(isStillOurs(file), false);
  assert.throws(() => rememberFile(file.path), { code: 'ENOENT' });
});
