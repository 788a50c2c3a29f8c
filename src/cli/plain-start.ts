/**
 * Plain command lines of `start`, read by Node's own parser. yargs takes longer to load than all the rest of a master, and
 * what it takes of memory the master would keep for good; so it is loaded where it is needed: for help, mistakes, the other
 * commands, and every way of writing that only it knows. Where both can read a line they read the same in it.
 */
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { flagName } from '../config/config.ts';
import { options } from '../config/options.ts';

type Given = Readonly<Record<string, readonly (string | boolean)[] | undefined>>;

/** What yargs would say of the line; undefined: let it. */
export function readPlainStart(args: readonly string[]): Readonly<Record<string, unknown>> | undefined {
  const [command, ...others] = args;
  const end = others.indexOf('--');
  const [own, rest] = end < 0 ? [others, undefined] : [others.slice(0, end), others.slice(end + 1)];
  if (command !== 'start' || rest?.length === 0 || !own.every(isPlain)) return undefined;
  const parsed = tryParse(own);
  const [script, ...more] = parsed?.positionals ?? [];
  if (parsed === undefined || more.length > 0 || (script !== undefined && /^(|-.*|true|false)$/s.test(script))) return undefined;
  const flags = new Map<string, unknown>();
  for (const name of ['config', ...Object.keys(options)]) {
    const value = givenFor(name, parsed.values);
    if (value === null) return undefined;
    if (value !== undefined) flags.set(name, value);
  }
  return { ...Object.fromEntries(flags), script, ...(rest && { '--': rest }) };
}

function tryParse(args: readonly string[]): { readonly values: Given; readonly positionals: readonly string[] } | undefined {
  const known: NonNullable<ParseArgsConfig['options']> = { config: { type: 'string', multiple: true } };
  for (const [name, { kind }] of Object.entries(options)) {
    const flag = flagName(name).slice(2);
    known[flag] = { type: kind === 'toggle' ? 'boolean' : 'string', multiple: true };
    if (kind === 'toggle') known[`no-${flag}`] = { type: 'boolean', multiple: true };
  }
  try {
    return parseArgs({ args: [...args], options: known, allowPositionals: true }) as { values: Given; positionals: string[] };
  } catch {
    return undefined; // ERR_PARSE_ARGS_*: yargs will say what is wrong, if anything
  }
}

/** yargs takes quotes off. */
function isPlain(arg: string): boolean {
  return !/^(--[^=]*=)?['"]/s.test(arg);
}

/** As yargs would give it; undefined: not given; null: not plain. */
function givenFor(name: string, values: Given): unknown {
  const flag = flagName(name).slice(2);
  const given = [...(values[flag] ?? []), ...(values[`no-${flag}`] ?? []).map(() => false)];
  const isList = options[name]?.kind.endsWith('list');
  if (given.includes('') || (given.length > 1 && !isList)) return null;
  return given.length > 1 ? given : given[0];
}
