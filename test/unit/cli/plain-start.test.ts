/** Where a line is plain enough for Node's parser, yargs reads the same in it: whichever read it, nobody can tell. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readCommandLine } from '../../../src/cli/command-line.ts';
import { readPlainStart } from '../../../src/cli/plain-start.ts';
import { flagName } from '../../../src/config/config.ts';
import { options } from '../../../src/config/options.ts';

const names = ['config', ...Object.keys(options)];
const oddities = [
  '',
  '-',
  '--',
  '-h',
  '--help',
  '--version',
  'true',
  'false',
  '0',
  '1',
  '0x10',
  '1e3',
  "'a'",
  '"b',
  'a=b',
  '=',
  'a b',
  './server.js',
  'reload',
  '@',
  'é',
  '--handoff=false',
  '--no-name',
  '--waitReady',
  '--name.first',
];
const value = fc.oneof(fc.constantFrom(...oddities), fc.string({ maxLength: 4 }));
const flag = fc.constantFrom(...names).map(flagName);
const token = fc.oneof(
  { weight: 3, arbitrary: fc.tuple(flag, value).map(([name, given]) => [name, given]) },
  { weight: 3, arbitrary: fc.tuple(flag, value).map(([name, given]) => [`${name}=${given}`]) },
  { weight: 2, arbitrary: fc.constantFrom('--wait-ready', '--handoff', '--no-handoff', '--no-wait-ready').map((toggle) => [toggle]) },
  { weight: 1, arbitrary: value.map((given) => [given]) },
);
const line = fc
  .tuple(
    fc.option(fc.constantFrom('./server.js', 'app', '7', 'a.b'), { nil: undefined }),
    fc.array(token, { maxLength: 4 }),
    fc.option(fc.array(value, { maxLength: 3 }), { nil: undefined }),
  )
  .chain(([script, tokens, rest]) =>
    fc.nat({ max: tokens.length }).map((at) => {
      const before = tokens.slice(0, at).flat();
      const after = tokens.slice(at).flat();
      return [...before, 'start', ...(script === undefined ? [] : [script]), ...after, ...(rest === undefined ? [] : ['--', ...rest])];
    }),
  );

/** What `start` looks at. */
function seen(argv: Readonly<Record<string, unknown>>): unknown {
  const flags = Object.fromEntries(names.filter((name) => argv[name] !== undefined).map((name) => [name, argv[name]]));
  return { ...flags, script: argv['script'], rest: argv['--'] };
}

test('yargs reads the same', async () => {
  let plain = 0;
  await fc.assert(
    fc.asyncProperty(line, async (args) => {
      const argv = readPlainStart(args);
      if (argv === undefined) return;
      plain++;
      const chosen = await readCommandLine(args, { loadStart: async () => async () => 0, releaseSignals() {} });
      assert.ok(chosen, 'yargs takes it for a command, too');
      assert.deepEqual(seen(argv), seen(chosen.argv));
    }),
    { numRuns: 300 },
  );
  assert.ok(plain > 10, `${plain} lines were plain`);
});

test('the usual lines are plain, help and mistakes are not', () => {
  const all = [
    'start',
    './server.js',
    '--workers',
    'auto',
    '--listen=127.0.0.1:80',
    '--listen',
    '[::1]:80',
    '--no-handoff',
    '--node-arg=--inspect',
    '--',
    '--port',
    '1',
  ];
  assert.deepEqual(readPlainStart(all), {
    script: './server.js',
    workers: 'auto',
    listen: ['127.0.0.1:80', '[::1]:80'],
    handoff: false,
    nodeArg: '--inspect',
    '--': ['--port', '1'],
  });
  assert.deepEqual(readPlainStart(['start', '--config', 'app.json']), { script: undefined, config: 'app.json' });
  for (const other of [
    [],
    ['--help'],
    ['start', '--help'],
    ['start', '-h'],
    ['reload'],
    ['start', 'a', 'b'],
    ['start', 'a', '--nmae', 'x'],
    ['start', 'a', '--name', 'x', '--name', 'y'],
    ['start', 'a', '--name'],
    ['start', '--wait-ready', 'true'], // yargs takes it for the value
    ['start', 'a', '--name', "'b'"], // and the quotes off
    ['start', 'a', '--name="b"'],
  ]) {
    assert.equal(readPlainStart(other), undefined, other.join(' '));
  }
});
