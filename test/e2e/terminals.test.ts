import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { cli, fixture, type LoggedEvent, poll, root, temporaryFolder } from '../helpers/rig.ts';

const skip = spawnSync('script', ['--version']).status === 0 ? false : 'there is no script(1)';

/** A master at a terminal of its own. */
class AtTerminal {
  readonly terminal: ChildProcess;
  readonly #folder: string;
  readonly #log: string;

  /** `command` is a line for the shell; $START starts the master, $LOG is a file. */
  constructor(folder: string, script: string, command: string) {
    this.#folder = folder;
    this.#log = join(folder, 'log');
    const flags = ['--name', 'app', '--runtime-dir', join(folder, 'run'), '--log-format', 'json', '--probation', '0s', '--linger', '0s'];
    const start = [process.execPath, join(root, 'bin/graceful-super.js'), 'start', fixture(script), ...flags].join(' ');
    const env = { ...process.env, START: start, LOG: this.#log };
    this.terminal = spawn('script', ['-qfc', command, '/dev/null'], { env, stdio: ['pipe', 'pipe', 'ignore'] });
    this.terminal.stdout?.resume();
  }

  events(name: string): LoggedEvent[] {
    const lines = existsSync(this.#log) ? readFileSync(this.#log, 'utf8').split('\n') : [];
    return lines.flatMap((line) => (line.includes(`"event":"${name}"`) ? [JSON.parse(line) as LoggedEvent] : []));
  }

  until(name: string, matches: (event: LoggedEvent) => boolean = () => true): Promise<void> {
    return poll(
      () => this.events(name).some(matches),
      () => `no ${name}: ${existsSync(this.#log) && readFileSync(this.#log, 'utf8')}`,
    );
  }

  command(...args: string[]) {
    return cli([...args, '--runtime-dir', join(this.#folder, 'run')]);
  }

  isUp(): Promise<void> {
    return poll(
      async () => (await this.command('status')).code === 0,
      () => 'it does not start',
    );
  }
}

test('When the terminal is gone, programs that write to it go on: their output is lost, and that is told', { skip }, async () => {
  using folder = temporaryFolder();
  const master = new AtTerminal(folder.path, 'chatters.cjs', 'exec $START --log-file $LOG');
  await master.until('master-ready');
  master.terminal.kill('SIGKILL'); // the kernel sends SIGHUP, so the master reloads
  await master.until('reload-finished', ({ generation, outcome }) => generation !== 1 && outcome === 'committed');
  await master.until('worker-note', ({ message }) => /has no terminal any more/.test(message));
  const [last] = master.events('worker-serving').slice(-1);
  assert.equal((await master.command('reload')).code, 0);
  assert.deepEqual(
    master.events('worker-crashed').filter(({ worker }) => worker === last?.['worker']),
    [],
  );
  assert.equal((await master.command('stop')).code, 0);
});

test('A master in the background of a terminal that stops whoever writes to it (stty tostop) goes on', { skip }, async () => {
  using folder = temporaryFolder();
  const master = new AtTerminal(folder.path, 'http-echo.cjs', "bash -mc 'stty tostop; $START & wait'");
  await master.isUp();
  const reload = await master.command('reload');
  assert.equal(reload.code, 0, reload.stderr);
  assert.equal((await master.command('stop')).code, 0);
  master.terminal.kill();
});
