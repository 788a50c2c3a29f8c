/** Releases as deploy tools make them: a folder each, and a link `current` to the one that counts. */
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { fixture, type Rig, type RigOptions, startMaster, temporaryFolder } from './rig.ts';

/** A master that runs what `current` leads to. */
export interface Deployed extends AsyncDisposable {
  readonly rig: Rig;
  /** Makes a release of these fixtures, which are loaded in this order, and the link lead to it. */
  deploy(release: string, ...files: readonly string[]): void;
  remove(release: string): void;
  /** What a worker was started from, as it told at its start. */
  releaseOf(pid: number): string | undefined;
}

/** Starts a master on the release `one`. */
export async function startDeployed(files: readonly string[], options: Partial<RigOptions> = {}): Promise<Deployed> {
  const folder = temporaryFolder();
  const deploy = (release: string, ...modules: readonly string[]) => {
    const at = join(folder.path, release);
    mkdirSync(at);
    const imports = modules.map((file) => `import ${JSON.stringify(pathToFileURL(fixture(file)).href)};\n`).join('');
    writeFileSync(join(at, 'server.mjs'), `${imports}console.log(\`release ${release} \${process.pid}.\`);\n`);
    symlinkSync(release, join(folder.path, 'draft'));
    renameSync(join(folder.path, 'draft'), join(folder.path, 'current'));
  };
  deploy('one', ...files);
  const rig = await startMaster({ ...options, script: join(folder.path, 'current/server.mjs') });
  return {
    rig,
    deploy,
    remove: (release) => rmSync(join(folder.path, release), { recursive: true }),
    releaseOf: (pid) => new RegExp(`^release (\\S+) ${pid}\\.$`, 'm').exec(rig.stdout)?.[1],
    async [Symbol.asyncDispose]() {
      await rig[Symbol.asyncDispose]();
      folder[Symbol.dispose]();
    },
  };
}
