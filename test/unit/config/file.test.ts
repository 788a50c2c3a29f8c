/** A configuration file: JSON, or JavaScript that is run in a process of its own. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { readConfigFile } from '../../../src/config/file.ts';
import { GracefulError } from '../../../src/errors.ts';
import { makeFolder } from '../helpers/folder.ts';

async function read(name: string, content: string): Promise<unknown> {
  using folder = makeFolder();
  return await readConfigFile(folder.write(name, content), folder.path);
}

/** How it fails, without the path. */
async function fail(path: string): Promise<string> {
  const result = await readConfigFile(path, '/').catch((error: unknown) => error);
  assert.ok(result instanceof GracefulError, String(result));
  assert.equal(result.code, 'config-unreadable');
  return result.message.replaceAll(path, 'FILE');
}

async function failReading(name: string, content: string): Promise<string> {
  using folder = makeFolder();
  return await fail(folder.write(name, content));
}

describe('holds an object', () => {
  const same = { workers: 2 };
  for (const [name, content] of [
    ['c.json', '{"workers": 2}'],
    ['c.mjs', 'export default { workers: 2 };'],
    ['c.cjs', 'module.exports = { workers: 2 };'],
    ['c.js', 'module.exports = { workers: 2 };'],
    ['function.mjs', 'export default () => ({ workers: 2 });'],
    ['async.mjs', 'export default async () => ({ workers: 1 + await 1 });'],
    ['talkative.mjs', 'console.log("hello"); process.stdout.write("half a line"); export default { workers: 2 };'],
  ] as const) {
    test(name, async () => assert.deepEqual(await read(name, content), same));
  }
});

test('what it imports is read anew each time', async () => {
  using folder = makeFolder();
  const file = folder.write('c.mjs', 'import { workers } from "./part.mjs"; export default { workers };');
  folder.write('part.mjs', 'export const workers = 1;');
  assert.deepEqual(await readConfigFile(file, folder.path), { workers: 1 });
  folder.write('part.mjs', 'export const workers = 2;');
  assert.deepEqual(await readConfigFile(file, folder.path), { workers: 2 });
});

test('it can not touch this process', async () => {
  await read('c.mjs', 'globalThis.touched = true; process.chdir("/"); export default {};');
  assert.equal('touched' in globalThis, false);
  assert.notEqual(process.cwd(), '/');
});

describe('is refused with the reason', () => {
  test('not JSON', async () =>
    assert.match(await failReading('c.json', '{"workers": }'), /^cannot read configuration file FILE: it is not JSON: Unexpected token/));

  test('it throws', async () => {
    const message = await failReading('c.mjs', 'throw new Error("no database");');
    assert.match(message, /^cannot read configuration file FILE: .*Error: no database/s);
  });

  test('its function throws', async () => assert.match(await failReading('c.mjs', 'export default () => { throw new Error("no luck"); };'), /Error: no luck/));

  for (const [name, content, got] of [
    ['c.json', '[1]', '[1]'],
    ['null.json', 'null', 'null'],
    ['empty.mjs', '', 'null'],
    ['text.mjs', 'export default "x";', '"x"'],
  ] as const) {
    test(`${name} holds no object`, async () => {
      assert.equal(await failReading(name, content), `cannot use configuration file FILE: expected an object, got ${got}`);
    });
  }

  test('another kind of file', async () => {
    assert.equal(await failReading('c.yaml', 'workers: 2'), 'cannot read configuration file FILE: expected a .json, .js, .mjs or .cjs file');
  });

  test('no such file, or a folder', async () => {
    using folder = makeFolder();
    for (const name of ['missing.json', 'missing.mjs']) {
      assert.equal(await fail(join(folder.path, name)), 'cannot read configuration file FILE: no such file');
    }
    folder.write('folder.json/file', '');
    assert.equal(await fail(join(folder.path, 'folder.json')), 'cannot read configuration file FILE: it is a directory');
  });
});
