/** Speaks to a running master over its control socket. */
import { readdirSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { basename, dirname, isAbsolute, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { defaultRuntimeDir } from '../config/config.ts';
import { GracefulError, systemCode } from '../errors.ts';
import type { ControlLine, Status } from '../protocol/control.ts';
import { isAnswered } from '../unix-socket.ts';

/** Until the answer begins; it may then go on for as long as a reload takes. */
const ANSWER_TIMEOUT_MS = 5_000;

/** A running master. */
export interface Master {
  readonly name: string;
  readonly socketPath: string;
}

/** The master that a command means: the named one, or the only one. @throws GracefulError `not-running`, `several-running` */
export async function findMaster(argv: Readonly<Record<string, unknown>>): Promise<Master> {
  const folders = runtimeDirsOf(argv);
  const folder = folders[0];
  const name = nameIn(argv);
  const running = await findMasters(folders);
  const names = running.map((master) => master.name).join(', ');
  if (name !== undefined) {
    const [found, ...others] = running.filter((master) => master.name === name);
    if (found && others.length === 0) return found;
    if (found) {
      const where = [found, ...others].map(({ socketPath }) => dirname(socketPath)).join(', ');
      throw new GracefulError('several-running', `several masters named "${name}" are running, in ${where}`, { hint: 'name the folder: --runtime-dir' });
    }
    throw new GracefulError('not-running', `no master named "${name}" is running (in ${folder})`, {
      hint: running.length > 0 ? `there are: ${names}` : 'graceful-super start ./server.js starts one',
    });
  }
  const [only] = running;
  if (only === undefined)
    throw new GracefulError('not-running', `no master is running (in ${folder})`, { hint: 'graceful-super start ./server.js starts one' });
  if (running.length > 1) throw new GracefulError('several-running', `several masters are running: ${names}`, { hint: 'name the one that is meant' });
  return only;
}

/** Every living master of these folders, by name. */
export async function findMasters(folders: readonly string[]): Promise<Master[]> {
  const candidates = folders.flatMap((folder) =>
    entriesOf(folder)
      .filter((entry) => entry.endsWith('.sock'))
      .map((entry) => ({ name: entry.slice(0, -5), socketPath: join(folder, entry) })),
  );
  const alive = await Promise.all(candidates.map(({ socketPath }) => isAnswered(socketPath)));
  return candidates.filter((_, index) => alive[index]).sort((a, b) => a.name.localeCompare(b.name));
}

/** Where the control sockets are: the named folder, or the usual one and those of systemd units beside it. */
export function runtimeDirsOf(argv: Readonly<Record<string, unknown>>): [string, ...string[]] {
  const given = (argv['runtimeDir'] as string | undefined) ?? process.env['GRACEFUL_SUPER_RUNTIME_DIR'];
  if (given !== undefined) return [isAbsolute(given) ? given : resolve(given)]; // resolve fails in a folder that was removed
  const usual = defaultRuntimeDir(process.env, tmpdir());
  if (basename(usual) !== 'graceful-super') return [usual]; // in /tmp anybody could have made the others
  const parent = dirname(usual);
  const units = entriesOf(parent).filter((entry) => entry.startsWith('graceful-super-'));
  return [usual, ...units.map((entry) => join(parent, entry))];
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

function send({ name, socketPath }: Master, method: string, path: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath, method, path, agent: false }, (response) => {
      clearTimeout(timer);
      if (response.statusCode === 200) return resolve(response);
      void textOf(response)
        .catch(() => '')
        .then((text) =>
          reject(
            new GracefulError('control-failed', `master "${name}" answers ${response.statusCode} to ${method} ${path}: ${text.trim()}`, {
              hint: 'is it of the same version?',
            }),
          ),
        );
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
