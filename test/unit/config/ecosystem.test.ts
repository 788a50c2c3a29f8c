import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { makeFolder } from '../helpers/folder.ts';
import { failToLoad, load } from '../helpers/load-config.ts';

const api = {
  name: 'api',
  script: './server.js',
  args: '--port 8080',
  instances: 4,
  exec_mode: 'cluster',
  node_args: ['--enable-source-maps'],
  env: { NODE_ENV: 'production', PORT: 8080 },
  max_memory_restart: '300M',
  wait_ready: true,
  listen_timeout: 8000,
  kill_timeout: 1600,
  autorestart: true,
  watch: false,
  error_file: '/var/log/api.err',
};

describe("PM2's ecosystem file", () => {
  test('One app is read as a configuration', async () => {
    using folder = makeFolder();
    const configFile = folder.write('ecosystem.json', JSON.stringify({ apps: [api] }));
    const { name, script, args, env, workers, nodeArg, maxMemory, waitReady, readyTimeout, killTimeout, restart } = await load({
      configFile,
      script: undefined,
    });
    assert.deepEqual([name, script, args, env], ['api', `${folder.path}/server.js`, ['--port', '8080'], { NODE_ENV: 'production', PORT: '8080' }]);
    assert.deepEqual(
      [workers, nodeArg, maxMemory, waitReady, readyTimeout, killTimeout, restart],
      [4, ['--enable-source-maps'], 300 * 1024 ** 2, true, 8000, 1600, 'always'],
    );
  });

  test('Flags win over it', async () => {
    using folder = makeFolder();
    const configFile = folder.write('ecosystem.json', JSON.stringify({ apps: { script: './a.js', instances: 2 } }));
    assert.equal((await load({ configFile, script: undefined, flags: { workers: '3' } })).workers, 3);
  });

  test('Of several apps one is chosen by its name', async () => {
    using folder = makeFolder();
    const configFile = folder.write('ecosystem.json', JSON.stringify({ apps: [api, { name: 'jobs', script: './jobs.js' }] }));
    assert.match((await failToLoad({ configFile, script: undefined })).message, /written for PM2 and has 2 apps: api, jobs/);
    assert.match((await load({ configFile, script: undefined, flags: { name: 'jobs' } })).script, /\/jobs\.js$/);
    assert.match((await failToLoad({ configFile, script: undefined, flags: { name: 'web' } })).message, /has 2 apps/);
  });

  test('What would be missed is refused by its name', async () => {
    using folder = makeFolder();
    const configFile = folder.write('ecosystem.json', JSON.stringify({ apps: [{ ...api, watch: true, cron_restart: '0 3 * * *' }] }));
    assert.match((await failToLoad({ configFile, script: undefined })).message, /watch, cron_restart of it has no counterpart here/);
  });

  test('Values are checked as all others are', async () => {
    using folder = makeFolder();
    const configFile = folder.write('ecosystem.json', JSON.stringify({ apps: [{ ...api, instances: -1 }] }));
    assert.match(
      (await failToLoad({ configFile, script: undefined })).message,
      /workers in .*ecosystem\.json: expected a whole number from 1 to 1024, or "auto", got -1/,
    );
  });
});
