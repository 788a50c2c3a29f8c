import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { flagName } from '../../src/config/config.ts';
import { options } from '../../src/config/options.ts';
import { exitCodes } from '../../src/errors.ts';

const folder = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const read = (path: string) => readFileSync(folder(path), 'utf8');

test('docs/configuration.md has every option with what it takes, as the help says it, and its default', () => {
  const rows = read('docs/configuration.md').split('\n');
  for (const [name, { preset, value }] of Object.entries(options)) {
    const flag = value === undefined ? flagName(name) : `${flagName(name)} ${value.replaceAll('|', '\\|')}`;
    const row = rows.find((line) => line.startsWith(`| \`${flag}\` | \`${name}\` |`));
    assert.ok(row, `${flag} is missing`);
    if (typeof preset === 'string' || typeof preset === 'number') assert.ok(row.includes(`\`${preset}\``), `${flagName(name)} has another default`);
    if (typeof preset === 'boolean') assert.ok(row.includes(`| ${preset ? 'on' : 'off'} |`), `${flagName(name)} has another default`);
  }
});

test('The help names the words that an option takes', () => {
  assert.deepEqual(
    ['restart', 'logLevel', 'logFormat'].map((name) => options[name]?.value),
    ['always|on-failure|never', 'error|warn|info|debug', 'auto|text|json'],
  );
});

test('docs/cli.md has every exit code', () => {
  const text = read('docs/cli.md');
  for (const [name, code] of Object.entries(exitCodes)) assert.ok(text.includes(`| ${code} | \`${name}\` |`), `${name} is missing`);
});

const pages = [
  'README.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  'CHANGELOG.md',
  ...readdirSync(folder('docs')).flatMap((name) => (name.endsWith('.md') ? [`docs/${name}`] : [])),
];

test('Each promise of the README is a link to its test, and each test of a promise is linked', () => {
  const [, section = ''] = read('README.md').split(/^## What it promises$/m);
  const promises = section.split(/^## /m)[0]?.match(/^- .*$/gm) ?? [];
  assert.ok(promises.length >= 7);
  for (const promise of promises) {
    const [, words, path = ''] = /^- \[\*\*(.+?)\*\*\]\((test\/e2e\/.+?)\)/.exec(promise) ?? [];
    assert.ok(words, `not a link: ${promise}`);
    assert.match(read(path), /^(test|overEach)\(/m);
  }
});

test('Links between pages lead somewhere', () => {
  for (const page of pages) {
    for (const [, target = ''] of read(page).matchAll(/\]\(([^)#:\s]+)(?:#[^)]*)?\)/g)) {
      assert.ok(existsSync(join(folder('.'), dirname(page), target)), `${page} links to ${target}`);
    }
  }
});

test('Links to a part of a page find its heading', () => {
  const anchors = (page: string) =>
    (read(page).match(/^#+ .*$/gm) ?? []).map((heading) =>
      heading
        .replace(/^#+ /, '')
        .toLowerCase()
        .replace(/[^\w\- ]/g, '')
        .replaceAll(' ', '-'),
    );
  for (const page of pages) {
    for (const [, target = '', anchor = ''] of read(page).matchAll(/\]\(([^)#:\s]*)#([^)]+)\)/g)) {
      const file = target === '' ? page : normalize(join(dirname(page), target));
      assert.ok(anchors(file).includes(anchor), `${page} links to ${target}#${anchor}`);
    }
  }
});

test('Every page is in the table of contents', () => {
  const contents = read('docs/README.md');
  for (const page of pages) if (page.startsWith('docs/') && page !== 'docs/README.md') assert.ok(contents.includes(`(${page.slice(5)})`), page);
});
