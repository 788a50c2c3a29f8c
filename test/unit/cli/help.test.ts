/** The help shows what the parser takes, and all of it. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { parse } from 'valibot';
import { readCommandLine } from '../../../src/cli/command-line.ts';
import { options } from '../../../src/config/options.ts';
import { GracefulError } from '../../../src/errors.ts';

/** yargs asks the system for its language. */
process.env['LC_ALL'] = 'C';

const parts = { loadStart: async () => async () => 0, releaseSignals() {} };

/** What `--help` prints. */
async function helpOf(t: TestContext, ...command: readonly string[]): Promise<string> {
  const { mock } = t.mock.method(console, 'log', () => {});
  assert.equal(await readCommandLine([...command, '--help'], parts), undefined);
  const lines = mock.calls.map(({ arguments: [line] }) => String(line)).join('\n');
  mock.restore();
  return lines;
}

interface Shown {
  readonly command: string;
  /** `script`, `workers`; those in `<>` are needed. */
  readonly positionals: readonly { readonly name: string; readonly isNeeded: boolean }[];
}

async function commandsOf(t: TestContext): Promise<Shown[]> {
  const lines = [...(await helpOf(t)).matchAll(/^ {2}graceful-super (\w+)((?: (?:\[\w+\]|<\w+>))*) {2,}/gm)];
  return lines.map(([, command = '', rest = '']) => {
    const positionals = [...rest.matchAll(/([[<])(\w+)/g)].map(([, bracket, name = '']) => ({ name, isNeeded: bracket === '<' }));
    return { command, positionals };
  });
}

/** Flags of a command, with whether they take a value. */
async function flagsOf(t: TestContext, command: string): Promise<{ readonly flag: string; readonly isToggle: boolean }[]> {
  const text = (await helpOf(t, command)).replace(/\n {28,}/g, ' ');
  return [...text.matchAll(/^ +(?:-\w, )?--([a-z-]+) .*\[(boolean|string)\]$/gm)].map(([, flag = '', type]) => ({ flag, isToggle: type === 'boolean' }));
}

async function isTaken(...args: readonly string[]): Promise<boolean> {
  try {
    return (await readCommandLine(args, parts)) !== undefined;
  } catch (error) {
    assert.ok(error instanceof GracefulError && error.code === 'usage', String(error));
    return false;
  }
}

test('every command that it shows is one, with the arguments that it shows, and with no more', async (t) => {
  const commands = await commandsOf(t);
  assert.deepEqual(commands.map(({ command }) => command).sort(), ['promote', 'reload', 'rollback', 'scale', 'start', 'status', 'stop', 'unit']);
  for (const { command, positionals } of commands) {
    const values = positionals.map(() => '1');
    const needed = positionals.filter(({ isNeeded }) => isNeeded).map(() => '1');
    assert.ok(await isTaken(command, ...values), `${command} ${values.join(' ')}`);
    assert.ok(await isTaken(command, ...needed), `${command} ${needed.join(' ')}`);
    assert.ok(!(await isTaken(command, ...values, 'surplus')), `${command} takes more than it shows`);
    if (needed.length > 0) assert.ok(!(await isTaken(command)), `${command} shows as needed what is not`);
    const own = await helpOf(t, command);
    for (const { name } of positionals) assert.match(own, new RegExp(`^ {2}${name} `, 'm'), `${command} does not explain ${name}`);
  }
});

test('arguments of the program are shown where they are taken', async (t) => {
  for (const { command, positionals } of await commandsOf(t)) {
    const values = positionals.map(() => '1');
    const isShown = /\[-- arguments of the program\]/.test(await helpOf(t, command));
    assert.equal(isShown, ['start', 'unit'].includes(command), command);
    if (isShown) assert.ok(await isTaken(command, ...values, '--', 'a', '--b'));
  }
});

test('every option that it shows is taken, and each that there is is shown', async (t) => {
  for (const { command, positionals } of await commandsOf(t)) {
    const flags = await flagsOf(t, command);
    const values = positionals.map(() => '1');
    for (const { flag, isToggle } of flags.filter((shown) => shown.flag !== 'help' && shown.flag !== 'version')) {
      assert.ok(await isTaken(command, ...values, `--${flag}`, ...(isToggle ? [] : ['1'])), `${command} --${flag}`);
      if (!isToggle) assert.ok(!(await isTaken(command, ...values, `--${flag}`)), `${command} --${flag} takes no value`);
    }
    assert.ok(flags.length >= 4, command);
  }
  const shown = (await flagsOf(t, 'start')).map(({ flag }) => flag);
  const all = Object.keys(options).map((name) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`));
  assert.deepEqual([...shown].sort(), [...all, 'config', 'help', 'version'].sort());
});

test('every word that it names for an option is one of its values', () => {
  for (const [name, { form, value }] of Object.entries(options)) {
    const words = (value ?? '').split('|').filter((word) => /^[a-z-]+$/.test(word));
    for (const word of words) assert.doesNotThrow(() => parse(form, word), `${name}: ${word}`);
  }
});
