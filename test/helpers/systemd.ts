/**
 * Boots a real systemd for a test, in namespaces and a cgroup of its own, and at the end proves that nothing of it is left. It shares the machine's
 * network: a port that a unit holds is reached from the test. In it: Node as /usr/bin/node, this project as /opt/graceful-super (and
 * /usr/local/bin/graceful-super), and the lab's folder as /srv/lab. Where it is not possible, `trees` says why, and tests skip with that.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type Finished, finish, poll, root } from './rig.ts';

/** The project, as units of a lab see it. */
export const projectInLab = '/opt/graceful-super';

const script = join(root, 'test/helpers/systemd-lab.sh');
const cache = '/var/cache/graceful-super-test';

/** A root folder that a systemd can be booted from. */
export interface Tree {
  /** `systemd 252` */
  readonly name: string;
  readonly version: number;
  readonly folder: string;
  /** Why tests can't run on it; false: they can. For node:test's `skip`. */
  readonly skip: string | false;
}

/** The systemd of this machine, and a newer one that is unpacked for the tests. */
export const trees: readonly Tree[] = [machineTree(), unpackedTree('trixie')];

/** A booted systemd. */
export class Lab implements AsyncDisposable {
  readonly tree: Tree;
  /** The folder that the lab sees as /srv/lab. */
  readonly folder: string;
  readonly #holder: ChildProcess;
  readonly #finished: Promise<Finished>;
  readonly #init: string;

  private constructor(tree: Tree, folder: string, holder: ChildProcess, finished: Promise<Finished>, init: string) {
    this.tree = tree;
    this.folder = folder;
    this.#holder = holder;
    this.#finished = finished;
    this.#init = init;
  }

  static async boot(tree: Tree): Promise<Lab> {
    const folder = mkdtempSync(join(tmpdir(), 'gs-lab-'));
    const holder = spawn(script, [tree.folder, process.execPath, root, folder], { stdio: ['pipe', 'pipe', 'pipe'] });
    const finished = finish(holder);
    const init = await Promise.race([readiness(holder), finished.then(({ stderr }) => assert.fail(`the lab did not boot: ${stderr}`))]);
    return new Lab(tree, folder, holder, finished, init);
  }

  /** Runs a command inside. */
  run(command: string, ...args: readonly string[]): Promise<Finished> {
    const inside = ['-t', this.#init, '-m', '-u', '-i', '-p', '-C', '--', command, ...args];
    return finish(spawn('nsenter', inside, { env: { PATH: '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin', LC_ALL: 'C' }, stdio: ['ignore', 'pipe', 'pipe'] }));
  }

  /** The same; fails where it fails. @returns what it printed */
  async check(command: string, ...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(command, ...args);
    assert.equal(code, 0, `${command} ${args.join(' ')}: ${stderr}${stdout}\n${await this.#everything()}`);
    return stdout.trim();
  }

  /** `systemctl`, which must succeed. */
  systemctl(...args: readonly string[]): Promise<string> {
    return this.check('systemctl', ...args);
  }

  /** Signals a process by its pid inside; `0` asks whether it is there. @returns false where it is not */
  async kill(pid: string | number, signal: 'STOP' | 'KILL' | '0'): Promise<boolean> {
    return (await this.run('sh', '-c', `kill -${signal} ${pid}`)).code === 0;
  }

  /** A property of a unit, as `systemctl show` tells it. */
  show(unit: string, property: string): Promise<string> {
    return this.systemctl('show', '--property', property, '--value', unit);
  }

  /** Waits until a property of a unit is as wanted. */
  async until(unit: string, property: string, isSo: (value: string) => boolean): Promise<string> {
    let value = '';
    let log = '';
    await poll(
      async () => {
        value = await this.show(unit, property);
        if (isSo(value)) return true;
        log = `${unit} ${property}=${value}`;
        return false;
      },
      () => `still ${log}`,
    ).catch(async (error) => assert.fail(`${error.message}\n${await this.#everything()}`));
    return value;
  }

  /** What a unit, and systemd about it, wrote into the journal. */
  async journal(unit: string, ...args: readonly string[]): Promise<string> {
    await this.check('journalctl', '--sync');
    return this.check('journalctl', '--no-pager', '--unit', unit, ...args);
  }

  /** Writes unit files, by their names, and has them read. */
  async units(files: Readonly<Record<string, string>>): Promise<void> {
    for (const [name, text] of Object.entries(files)) this.write(`units/${name}`, text);
    await this.systemctl('daemon-reload');
  }

  /** Writes a file into the lab's folder. @returns its path inside */
  write(name: string, text: string, mode = 0o644): string {
    const path = join(this.folder, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
    chmodSync(path, mode);
    return `/srv/lab/${name}`;
  }

  /** Commands of the processes of a unit, as `systemctl status` would list them. */
  async processes(unit: string): Promise<string[]> {
    const group = await this.show(unit, 'ControlGroup');
    if (group === '') return [];
    const { stdout } = await this.run(
      'sh',
      '-c',
      `for p in $(cat "/sys/fs/cgroup$1/cgroup.procs"); do tr '\\0\\n' '  ' < /proc/$p/cmdline; echo; done`,
      'sh',
      group,
    );
    return stdout.split('\n').filter(Boolean);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#holder.stdin?.end();
    const { code, stderr } = await this.#finished;
    assert.deepEqual([code, stderr], [0, ''], 'nothing of the lab is left');
    assert.ok(!existsSync(this.folder));
  }

  async #everything(): Promise<string> {
    return (await this.run('journalctl', '--no-pager', '--lines=80')).stdout;
  }
}

async function readiness({ stdout }: ChildProcess): Promise<string> {
  assert.ok(stdout);
  let text = '';
  for (;;) {
    const [chunk] = await once(stdout, 'data');
    text += chunk;
    const init = /^READY (\d+)$/m.exec(text)?.[1];
    if (init !== undefined) return init;
  }
}

function machineTree(): Tree {
  return toTree('/', 'of this machine', whyNotBoot('/'));
}

/** Unpacked once, and kept in a cache outside the repository. */
function unpackedTree(suite: string): Tree {
  const folder = join(cache, `systemd-${suite}`);
  const made = existsSync(folder) ? undefined : spawnSync(join(root, 'test/helpers/systemd-tree.sh'), [suite, folder], { encoding: 'utf8' });
  if (made?.status === 77) return toTree(folder, `of ${suite}`, made.stderr.trim());
  assert.equal(made?.status ?? 0, 0, `the systemd of ${suite} could not be unpacked: ${made?.stderr}`);
  return toTree(folder, `of ${suite}`, whyNotBoot(folder));
}

function toTree(folder: string, whose: string, skip: string | false): Tree {
  const version = versionIn(folder);
  return { name: `systemd ${version ?? whose}`, version: version ?? 0, folder, skip };
}

function versionIn(folder: string): number | undefined {
  const [command, args] = folder === '/' ? ['systemctl', []] : ['chroot', [folder, '/usr/bin/systemctl']];
  const { stdout } = spawnSync(command, [...args, '--version'], { encoding: 'utf8' });
  const version = Number(/^systemd (\d+)/.exec(stdout ?? '')?.[1]);
  return Number.isNaN(version) ? undefined : version;
}

/** Tries it. */
function whyNotBoot(folder: string): string | false {
  const place = mkdtempSync(join(tmpdir(), 'gs-lab-'));
  const { status, stderr } = spawnSync(script, [folder, process.execPath, root, place], { encoding: 'utf8', input: '' });
  rmSync(place, { recursive: true, force: true });
  if (status === 77) return stderr.trim();
  assert.equal(status, 0, `the lab failed: ${stderr}`);
  return false;
}
