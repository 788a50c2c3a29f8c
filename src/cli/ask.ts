/** Commands that ask a master for something, wait until it is so, and tell what happens meanwhile. */
import * as v from 'valibot';
import { duration, type Form, whole } from '../config/forms.ts';
import { exitCodes, GracefulError } from '../errors.ts';
import { findMaster, post } from './client.ts';
import { print } from './print.ts';

type Argv = Readonly<Record<string, unknown>>;

/** `graceful-super reload [--canary N [--hold TIME]] [--allow-address-change]` @returns 0 when the new generation serves, or its canary is held without an end */
export function reload(argv: Argv): Promise<number> {
  const canary = optional('--canary', whole(1, 1024), argv['canary']);
  const hold = optional('--hold', duration(0), argv['hold']);
  if (hold !== undefined && canary === undefined)
    throw new GracefulError('usage', '--hold needs --canary', { hint: 'graceful-super reload --canary 1 --hold 60s' });
  const allow = argv['allow-address-change'] === true ? 1 : undefined;
  const given = Object.entries({ canary, hold, allow }).flatMap(([key, value]) => (value === undefined ? [] : [[key, String(value)] as [string, string]]));
  const parameters = new URLSearchParams(given);
  return ask(argv, parameters.size > 0 ? `/reload?${parameters}` : '/reload');
}

/** `graceful-super promote`: the rest of a canary's generation follows. @returns 0 when it serves */
export function promote(argv: Argv): Promise<number> {
  return ask(argv, '/promote');
}

/** `graceful-super rollback [--force]` @returns 0 when the code of before serves */
export function rollback(argv: Argv): Promise<number> {
  return ask(argv, argv['force'] === true ? '/rollback?force=1' : '/rollback');
}

/** `graceful-super scale 4`, `+1`, `-1` @returns 0 when so many serve */
export function scale(argv: Argv): Promise<number> {
  const text = String(argv['workers']);
  if (!/^[+-]?\d{1,4}$/.test(text)) {
    throw new GracefulError('usage', `how many workers is "${text}"?`, { hint: 'graceful-super scale 4, scale +1 or scale -1' });
  }
  if (/^[+-]/.test(text)) return ask(argv, `/scale?by=${Number(text)}`);
  return ask(argv, `/scale?to=${optional('workers', whole(1, 1024), text)}`);
}

async function ask(argv: Argv, path: string): Promise<number> {
  const master = await findMaster(argv);
  let lastText = '';
  const last = await post(master, path, ({ text }) => {
    if (lastText !== '') print(lastText);
    lastText = text; // the last one is the outcome, which may belong on stderr
  });
  if (last?.type !== 'outcome') throw new GracefulError('control-failed', `master "${master.name}" ended meanwhile`);
  const { isDone, error, text } = last;
  if (lastText !== text && lastText !== '') print(lastText);
  print(text, isDone ? process.stdout : process.stderr);
  return error === null ? 0 : exitCodes[error];
}

function optional<T>(name: string, form: Form<T>, value: unknown): T | undefined {
  if (value === undefined) return undefined;
  const result = v.safeParse(form, value);
  if (result.success) return result.output;
  throw new GracefulError('usage', `${name}: expected ${result.issues[0].message}, got ${JSON.stringify(value)}`, { hint: 'graceful-super --help' });
}
