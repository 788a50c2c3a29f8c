/** Speaks to a running master over its control socket. */
import { readdirSync, statSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { basename, dirname, isAbsolute, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { defaultRuntimeDirs } from '../config/config.ts';
import { GracefulError, systemCode } from '../errors.ts';
import { entryOf } from '../master/control/entry.ts';
import { CONTROL_PROTOCOL, type ControlLine, PROTOCOL_HEADER, type Status } from '../protocol/control.ts';
import { checkFolder, Distrust } from '../trust.ts';
import { isAnswered } from '../unix-socket.ts';
import { version } from './version.ts';

/** Until the answer begins; it may then go on for as long as a reload takes. */
const ANSWER_TIMEOUT_MS = 5_000;

/** A running master. */
export interface Master {
  readonly name: string;
  readonly folder: string;
  /** This master's alone: a successor of the same name has another. */
  readonly socketPath: string;
}

/** A folder to look for control sockets in. */
interface Place {
  readonly folder: string;
  readonly isGiven: boolean;
  /** Root finds the masters of other users there. */
  readonly mayBeAnothers: boolean;
}

/** What was found, and why some of it is not used. */
interface Search {
  readonly masters: readonly Master[];
  /** `/tmp/graceful-super-7: it belongs to another user (uid 8)` */
  readonly distrusted: readonly string[];
}

/** The master that a command means: the named one, or the only one. @throws GracefulError `not-running`, `several-running`, `control-failed` */
export async function findMaster(argv: Readonly<Record<string, unknown>>): Promise<Master> {
  const name = nameIn(argv);
  const { masters: running, distrusted } = await findMasters(argv);
  const names = running.map((master) => master.name).join(', ');
  const where = [`in ${placesOf(argv)[0].folder}`, ...distrusted.map((one) => `not used: ${one}`)].join('; ');
  if (name !== undefined) {
    const [found, ...others] = running.filter((master) => master.name === name);
    if (found && others.length === 0) return found;
    if (found) {
      const folders = [found, ...others].map(({ folder }) => folder).join(', ');
      throw new GracefulError('several-running', `several masters named "${name}" are running, in ${folders}`, { hint: 'name the folder: --runtime-dir' });
    }
    throw new GracefulError('not-running', `no master named "${name}" is running (${where})`, {
      hint: running.length > 0 ? `there are: ${names}` : hintWhereNone(),
    });
  }
  const [only] = running;
  if (only === undefined) throw new GracefulError('not-running', `no master is running (${where})`, { hint: hintWhereNone() });
  if (running.length > 1) throw new GracefulError('several-running', `several masters are running: ${names}`, { hint: 'name the one that is meant' });
  return only;
}

/** Under sudo the masters of who called it are elsewhere. */
function hintWhereNone(): string {
  const { SUDO_UID } = process.env;
  return SUDO_UID === undefined || process.getuid?.() !== 0
    ? 'graceful-super start ./server.js starts one'
    : `those of uid ${SUDO_UID} are found without sudo, or by --runtime-dir /run/user/${SUDO_UID}/graceful-super`;
}

/** Every living master where the command looks, by name. @throws GracefulError `control-failed`: the folder that was named is not to be trusted */
export async function findMasters(argv: Readonly<Record<string, unknown>>): Promise<Search> {
  const distrusted: string[] = [];
  const candidates = placesOf(argv).flatMap((place) => candidatesIn(place, distrusted));
  const alive = await Promise.all(candidates.map(({ socketPath }) => isAnswered(socketPath)));
  const masters = candidates.filter((_, index) => alive[index]).sort((a, b) => a.name.localeCompare(b.name));
  return { masters, distrusted };
}

function candidatesIn({ folder, isGiven, mayBeAnothers }: Place, distrusted: string[]): Master[] {
  const owners = unlessDistrusted(folder, distrusted, () => checkFolder(folder, mayBeAnothers));
  if (owners === undefined && isGiven && distrusted.length > 0) {
    throw new GracefulError('control-failed', `cannot use the control folder ${distrusted.join(', ')}`, { hint: 'run this as the user of the master' });
  }
  if (owners === undefined) return [];
  return entriesOf(folder)
    .filter((entry) => entry.endsWith('.sock'))
    .flatMap((entry) => {
      const name = entry.slice(0, -5);
      const socketPath = unlessDistrusted(join(folder, entry), distrusted, () => entryOf(folder, name, owners));
      return socketPath === undefined ? [] : [{ name, folder, socketPath }];
    });
}

/** What is gone is as good as never there. */
function unlessDistrusted<T>(path: string, distrusted: string[], look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    if (error instanceof Distrust) distrusted.push(`${path}: ${error.message}`);
    else if (!['ENOENT', 'ENOTDIR', 'EACCES'].includes(systemCode(error) ?? '')) throw error;
    return undefined;
  }
}

/** Where the control sockets are: the named folder, or the usual ones and those of systemd units beside them. */
function placesOf(argv: Readonly<Record<string, unknown>>): readonly [Place, ...Place[]] {
  const given = (argv['runtimeDir'] as string | undefined) ?? process.env['GRACEFUL_SUPER_RUNTIME_DIR'];
  // resolve fails in a folder that was removed
  if (given !== undefined) return [{ folder: isAbsolute(given) ? given : resolve(given), isGiven: true, mayBeAnothers: true }];
  const usual = defaultRuntimeDirs(process.env, tmpdir());
  const parents = usual.filter((folder) => basename(folder) === 'graceful-super').map((folder) => dirname(folder)); // in /tmp anybody could have made the others
  const units = parents.flatMap(
    (parent) =>
      entriesOf(parent)
        .filter((entry) => entry.startsWith('graceful-super-'))
        .map((entry) => join(parent, entry))
        .filter((path) => statSync(path, { throwIfNoEntry: false })?.isDirectory()), // files of masters lie there, too
  );
  const places = (folders: readonly string[], mayBeAnothers: boolean) => folders.map((folder) => ({ folder, isGiven: false, mayBeAnothers }));
  return [...places(usual, false), ...places(units, true)] as [Place, ...Place[]];
}

/** The master that the command, or the environment, names. */
export function nameIn(argv: Readonly<Record<string, unknown>>): string | undefined {
  const [given, flag] = [argv['master'] as string | undefined, argv['name'] as string | undefined];
  if (given !== undefined && flag !== undefined && given !== flag) {
    throw new GracefulError('usage', `which master is meant, "${given}" or "${flag}"?`, { hint: 'name one of them' });
  }
  return given ?? flag ?? process.env['GRACEFUL_SUPER_NAME'];
}

/** `GET /status` */
export async function fetchStatus(master: Master): Promise<Status> {
  const response = await send(master, 'GET', '/status');
  return JSON.parse(await textOf(response)) as Status;
}

/** `POST` with a streamed answer. @returns the last line, or undefined where the master was gone before it */
export async function post(
  master: Master,
  path: string,
  onEvent: (line: ControlLine & { type: 'event' }) => void,
): Promise<Exclude<ControlLine, { type: 'event' }> | undefined> {
  const response = await send(master, 'POST', path);
  try {
    for await (const text of createInterface({ input: response })) {
      const line = JSON.parse(text) as ControlLine;
      if (line.type !== 'event') return line;
      onEvent(line);
    }
  } catch (error) {
    if (systemCode(error) !== 'ECONNRESET') throw error; // the master ended in the middle of a line
  }
  return undefined;
}

function send(master: Master, method: string, path: string): Promise<IncomingMessage> {
  const { name, socketPath } = master;
  return new Promise((resolve, reject) => {
    const headers = { [PROTOCOL_HEADER]: CONTROL_PROTOCOL };
    const sent = request({ socketPath, method, path, headers, agent: false }, (response) => {
      clearTimeout(timer);
      if (response.statusCode === 200 && speaksOurs(response)) return resolve(response);
      void refusal(master, `${method} ${path}`, response).then(reject);
    });
    const timer = setTimeout(() => sent.destroy(new Error('it does not answer')), ANSWER_TIMEOUT_MS);
    sent.once('error', (cause) =>
      reject(
        new GracefulError('control-failed', `cannot speak to master "${name}" on ${socketPath}: ${cause.message}`, {
          hint: 'graceful-super status lists those that answer',
          cause,
        }),
      ),
    );
    sent.end();
  });
}

function speaksOurs(response: IncomingMessage): boolean {
  return response.headers[PROTOCOL_HEADER] === CONTROL_PROTOCOL;
}

/** A package that is replaced under a running master leaves it what it was, and only the commands are new. */
async function refusal({ name }: Master, what: string, response: IncomingMessage): Promise<GracefulError> {
  if (!speaksOurs(response)) {
    response.destroy();
    const { server = 'unknown', [PROTOCOL_HEADER]: theirs = 'none' } = response.headers;
    const difference = `it is ${server}, with control protocol ${theirs}, and this is graceful-super/${version}, with ${CONTROL_PROTOCOL}`;
    return new GracefulError('control-failed', `master "${name}" does not understand this command: ${difference}`, {
      hint: 'use the command of its version, or stop it by SIGTERM and start it anew',
    });
  }
  const text = await textOf(response).catch(() => '');
  return new GracefulError('control-failed', `master "${name}" answers ${response.statusCode} to ${what}: ${text.trim()}`);
}

async function textOf(response: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += chunk;
  return text;
}

function entriesOf(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EACCES'].includes(systemCode(error) ?? '')) return [];
    throw error;
  }
}
