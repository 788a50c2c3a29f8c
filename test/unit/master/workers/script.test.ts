import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, symlinkSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { resolveScript } from '../../../../src/master/workers/script.ts';
import { makeFolder } from '../../helpers/folder.ts';

const tellsItself = 'console.log(__filename)\n';

/** Layouts: what is started, and the files that are there. */
const layouts: Readonly<Record<string, readonly [start: string, files: Readonly<Record<string, string>>]>> = {
  'a file': ['server.js', { 'server.js': tellsItself }],
  'a file whose ending is left out': ['server', { 'server.js': tellsItself }],
  'a file without an ending': ['server', { server: tellsItself, 'server.js': '' }],
  'a file beside a folder of its name': ['server', { 'server.js': tellsItself, 'server/index.js': '' }],
  'a folder with an index': ['app', { 'app/index.js': tellsItself }],
  'a folder with a package': ['app', { 'app/package.json': '{ "main": "lib/start.js" }', 'app/lib/start.js': tellsItself, 'app/index.js': '' }],
  'a package whose main has no ending': ['app', { 'app/package.json': '{ "main": "./start" }', 'app/start.js': tellsItself }],
  'a package whose main is a folder': ['app', { 'app/package.json': '{ "main": "lib" }', 'app/lib/index.js': tellsItself }],
  'a package without a main': ['app', { 'app/package.json': '{ "name": "app" }', 'app/index.js': tellsItself }],
  'a package whose main is not there': ['app', { 'app/package.json': '{ "main": "gone.js" }', 'app/index.js': tellsItself }],
};

describe('a script is found as Node itself finds it', () => {
  for (const [name, [start, files]] of Object.entries(layouts)) {
    test(name, () => {
      using folder = makeFolder();
      for (const [path, text] of Object.entries(files)) folder.write(path, text);
      const path = join(folder.path, start);
      const { stdout } = spawnSync(process.execPath, [path], { encoding: 'utf8' });
      assert.equal(`${resolveScript(path)}\n`, stdout);
    });
  }
});

test('A symlink is followed anew each time', () => {
  using folder = makeFolder();
  for (const release of ['one', 'two']) folder.write(`${release}/index.js`, '');
  const current = join(folder.path, 'current');
  symlinkSync('one', current);
  const first = resolveScript(current);
  unlinkSync(current);
  symlinkSync('two', current);
  assert.deepEqual(
    [first, resolveScript(current)].map((path) => path.slice(-'one/index.js'.length)),
    ['one/index.js', 'two/index.js'],
  );
});

test('What no Node could run is named for what it is', () => {
  using folder = makeFolder();
  const fail = (path: string) => {
    try {
      return assert.fail(`found: ${resolveScript(path)}`);
    } catch (error) {
      return error as Error & { readonly code: string; readonly hint: string };
    }
  };
  const shell = fail(folder.write('bin/next', '#!/bin/sh\nexec node x.js\n'));
  assert.match(`${shell.code}: ${shell.message}, ${shell.hint}`, /^script-unreadable: .*it is a program for sh, name the JavaScript file/);
  const binary = fail(folder.write('server.exe', '\x7fELF\x02'));
  assert.match(binary.message, /it is a binary$/);
  assert.match(fail(join(folder.path, 'npm')).hint, /^npm would stand between/);
  assert.equal(fail(folder.path).code, 'script-is-directory');
});

test('A script with a line for the shell is one of Node', () => {
  using folder = makeFolder();
  for (const line of ['#!/usr/bin/env node', '#!/usr/bin/env -S node --enable-source-maps', '#!/opt/node20/bin/node']) {
    const path = folder.write('command', `${line}\n`);
    chmodSync(path, 0o644);
    assert.equal(resolveScript(path).endsWith('/command'), true);
  }
});
