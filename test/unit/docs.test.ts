import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { flagName } from '../../src/config/config.ts';
import { options } from '../../src/config/options.ts';
import { exitCodes } from '../../src/errors.ts';

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');

test('docs/configuration.md has every option with its default', () => {
  const rows = read('docs/configuration.md').split('\n');
  for (const [name, { preset }] of Object.entries(options)) {
    const row = rows.find((line) => line.startsWith(`| \`${flagName(name)}`) && line.includes(`| \`${name}\` |`));
    assert.ok(row, `${flagName(name)} is missing`);
    if (typeof preset === 'string' || typeof preset === 'number') assert.ok(row.includes(`\`${preset}\``), `${flagName(name)} has another default`);
    if (typeof preset === 'boolean') assert.ok(row.includes(`| ${preset ? 'on' : 'off'} |`), `${flagName(name)} has another default`);
  }
});

test('docs/cli.md has every exit code', () => {
  const text = read('docs/cli.md');
  for (const [name, code] of Object.entries(exitCodes)) assert.ok(text.includes(`| ${code} | \`${name}\` |`), `${name} is missing`);
});

test('The README speaks of every test of a promise', () => {
  const text = read('README.md');
  for (const promise of ['No connection is refused', 'No request is lost', 'A reload is a transaction', 'Nothing is left behind'])
    assert.ok(text.includes(`**${promise}`));
});
