/** Copies of the package, as npm installs them: to be removed, replaced or changed. */
import { cpSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './rig.ts';

/** Installs it into a folder. @returns the package's own */
export function installPackage(folder: string): string {
  const installed = join(folder, 'node_modules/graceful-super');
  mkdirSync(installed, { recursive: true });
  for (const name of ['bin', 'dist', 'package.json']) cpSync(join(root, name), join(installed, name), { recursive: true });
  return installed;
}

/** Its command, for a rig. */
export function commandOf(installed: string): string {
  return join(installed, 'bin/graceful-super.js');
}
