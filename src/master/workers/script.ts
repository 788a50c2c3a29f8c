/**
 * The file that `start PATH` means: as `node PATH` finds it, by an ending that was left out, and in a folder by its package.json or as index.js. Looked up anew for
 * each generation, and not by `require.resolve`, which remembers where a symlink once led. @see Node's documentation, "Folders as modules"
 */
import { accessSync, closeSync, constants, openSync, readFileSync, readSync, realpathSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { GracefulError, systemCode } from '../../errors.ts';

const ENDINGS = ['', '.js', '.json', '.node'];
const HEAD_BYTES = 128;

/** @returns an absolute path without symlinks @throws GracefulError `script-not-found`, `script-unreadable`, `script-is-directory` */
export function resolveScript(path: string): string {
  const found = fileAt(path) ?? fileIn(path);
  if (found === undefined) throw missing(path);
  try {
    accessSync(found, constants.R_OK);
  } catch (cause) {
    throw unreadable(path, 'permission denied', 'the user that runs the master must be able to read it', cause);
  }
  refuseForeign(found);
  return realpathSync(found);
}

function fileAt(path: string): string | undefined {
  return ENDINGS.map((ending) => path + ending).find((candidate) => statOf(candidate, path)?.isFile());
}

/** What the package in a folder calls its main module. */
function fileIn(folder: string): string | undefined {
  if (statOf(folder, folder)?.isDirectory() !== true) return undefined;
  const main = mainOf(folder);
  const named = main === undefined ? undefined : (fileAt(join(folder, main)) ?? fileAt(join(folder, main, 'index')));
  return named ?? fileAt(join(folder, 'index'));
}

function mainOf(folder: string): string | undefined {
  try {
    const { main } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { readonly main?: unknown };
    return typeof main === 'string' && main !== '' ? main : undefined;
  } catch {
    return undefined; // ENOENT, or it is no JSON: then index.js it is
  }
}

function statOf(path: string, asked: string): ReturnType<typeof statSync> | undefined {
  try {
    return statSync(path);
  } catch (cause) {
    const code = systemCode(cause) ?? '';
    if (['ENOENT', 'ENOTDIR', 'ENAMETOOLONG'].includes(code)) return undefined;
    if (code === 'EACCES') throw unreadable(asked, 'permission denied', 'the user that runs the master must be able to read it', cause);
    throw new GracefulError('script-not-found', `cannot start ${asked}: ${code === 'ELOOP' ? 'too many symlinks' : String(cause)}`, { cause });
  }
}

/** Commands of packages are often shell scripts, and Node would only find a syntax error in them. */
function refuseForeign(path: string): void {
  const head = headOf(path);
  const [, interpreter = ''] = /^#!\s*(?:\S*\/env\s+(?:-S\s+)?)?(\S+)/.exec(head) ?? [];
  const what = head.startsWith('\x7fELF')
    ? 'it is a binary'
    : interpreter === '' || /node|tsx|bun|deno/.test(interpreter)
      ? undefined
      : `it is a program for ${basename(interpreter)}`;
  if (what !== undefined) throw unreadable(path, what, 'name the JavaScript file that it runs', undefined);
}

function headOf(path: string): string {
  const bytes = Buffer.alloc(HEAD_BYTES);
  const fd = openSync(path, 'r');
  try {
    return bytes.toString('latin1', 0, readSync(fd, bytes, 0, HEAD_BYTES, 0));
  } finally {
    closeSync(fd);
  }
}

function missing(path: string): GracefulError {
  if (statOf(path, path)?.isDirectory())
    return new GracefulError('script-is-directory', `cannot start ${path}: it is a directory without package.json or index.js`, {
      hint: 'name the file in it',
    });
  return new GracefulError('script-not-found', `cannot start ${path}: no such file`, { hint: hintFor(basename(path)) });
}

function hintFor(name: string): string {
  if (['npm', 'npx', 'pnpm', 'yarn', 'bun'].includes(name))
    return `${name} would stand between master and program: name the file that its script runs, such as ./server.js`;
  if (name === 'node') return 'Node is started by the master: name the script, and what belongs to Node by --node-arg';
  return 'the path of the script comes after "start"; of a package\'s command it is in node_modules/.bin';
}

function unreadable(script: string, reason: string, hint: string, cause: unknown): GracefulError {
  return new GracefulError('script-unreadable', `cannot start ${script}: ${reason}`, { hint, cause });
}
