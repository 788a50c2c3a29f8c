/** What nobody writes on purpose is a mistake like any other. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { loadConfig } from '../../../src/config/config.ts';

const folder = mkdtempSync(join(tmpdir(), 'gs-config-'));
after(() => rmSync(folder, { recursive: true }));

function load(name: string, text: string, env: NodeJS.ProcessEnv = {}): Promise<unknown> {
  writeFileSync(join(folder, name), text);
  return loadConfig({ flags: {}, script: './server.js', args: undefined, configFile: name, env, folder });
}

const invalid = { name: 'GracefulError', code: 'config-invalid' };
const unreadable = { name: 'GracefulError', code: 'config-unreadable' };

test('names that every object has are no options', () =>
  assert.rejects(load('names.json', '{"constructor": 1, "toString": 2}'), { ...invalid, message: /2 mistakes/ }));
test('an option is on or off, and nothing else', async () => {
  await assert.rejects(load('toggle.json', '{"waitReady": {"toString": 1}}'), invalid);
  await assert.rejects(load('toggle.json', '{"waitReady": ["yes"]}'), invalid);
  await assert.rejects(load('toggle.json', '{}', { GRACEFUL_SUPER_WAIT_READY: 'constructor' }), invalid);
});
test('env is an object', () => assert.rejects(load('env.json', '{"env": ["x"]}'), invalid));
test('the shortest delay is not above the longest', () => assert.rejects(load('backoff.json', '{"backoffMin": "1m", "backoffMax": "1s"}'), invalid));
test('a file that ends the process gives no configuration', () => assert.rejects(load('exits.mjs', 'process.exit(0); export default {};'), unreadable));
test('a file may print what it likes', async () => {
  const config = await load('prints.mjs', "process.on('exit', () => console.log('bye')); console.log('hello'); export default { workers: 3 };");
  assert.equal((config as { workers: number }).workers, 3);
});
