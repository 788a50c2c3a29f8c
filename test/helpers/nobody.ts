/** Commands run by a user without rights, which takes root to begin with. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { type Finished, root } from './rig.ts';

const bin = join(root, 'bin/graceful-super.js');

/** User and group. */
export const NOBODY = 65534;

/** Makes the command that follows run as nobody. */
export const asNobody: readonly string[] = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'];

const canBeNobody = process.getuid?.() === 0 && spawnSync(asNobody[0] as string, [...asNobody.slice(1), process.execPath, bin, '--version']).status === 0;

/** For tests that can't do without. */
export const needsNobody: { skip?: string } = canBeNobody ? {} : { skip: 'needs root and setpriv' };

/** Runs the command line to its end. */
export function runAsNobody(args: readonly string[], env: NodeJS.ProcessEnv): Finished {
  const [command = '', ...flags] = asNobody;
  const { status, signal, stdout, stderr } = spawnSync(command, [...flags, process.execPath, bin, ...args], {
    env: { ...process.env, ...env },
    encoding: 'utf8',
  });
  return { code: status, signal, stdout, stderr };
}
