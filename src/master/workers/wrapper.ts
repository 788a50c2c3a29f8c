/**
 * tsx's own command runs the program in a process below its own, which gets no listener from the master and would hold its port at a reload. So Node is given what that
 * command would give to it, and the program is started itself. @see tsx's documentation, "Node.js enhancement"
 */
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { GracefulError } from '../../errors.ts';
import { resolveScript } from './script.ts';

/** What is to be run. */
interface Command {
  readonly script: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly nodeArgs: readonly string[];
}

/** The launch of what the command would run; any other as it is. @throws GracefulError `usage` where the command is given options of its own, `script-…` */
export function withoutWrapper<T extends Command>(launch: T): T {
  const { script, args, cwd, nodeArgs } = launch;
  const loader = join(dirname(script), 'loader.mjs');
  if (!script.endsWith('/tsx/dist/cli.mjs') || !existsSync(loader)) return launch;
  const [program, ...rest] = args;
  if (program === undefined || program.startsWith('-') || program === 'watch') {
    throw new GracefulError('usage', `cannot start tsx ${args.join(' ')}: it would stand between master and program`, {
      hint: 'start the program itself, as in: graceful-super start ./server.ts --node-arg=--import=tsx',
    });
  }
  return { ...launch, script: resolveScript(resolve(cwd, program)), args: rest, nodeArgs: [...nodeArgs, '--import', pathToFileURL(loader).href] };
}
