/** A program in a lab, under the unit that `graceful-super unit` writes for it. */
import { copyFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Status } from '../../src/protocol/control.ts';
import { ask, fixture } from './rig.ts';
import type { Lab } from './systemd.ts';

/** The service `app`. */
export class Service {
  readonly lab: Lab;

  private constructor(lab: Lab) {
    this.lab = lab;
  }

  /** Writes program, unit, and a drop-in. */
  static async install(lab: Lab, flags: readonly string[], dropIn = ''): Promise<Service> {
    copyFileSync(fixture('systemd-app.cjs'), join(lab.folder, 'app.cjs'));
    return Service.of(lab, await lab.check('graceful-super', 'unit', '/srv/lab/app.cjs', '--name', 'app', ...flags), dropIn);
  }

  static async of(lab: Lab, unit: string, dropIn = ''): Promise<Service> {
    await lab.units({ 'app.service': unit, 'app.service.d/test.conf': dropIn });
    return new Service(lab);
  }

  /** A file beside the program, which changes what it does. */
  mark(name: string): void {
    this.lab.write(name, '');
  }

  unmark(name: string): void {
    rmSync(join(this.lab.folder, name));
  }

  /** What the master says of itself. */
  async status(): Promise<Status> {
    return JSON.parse(await this.lab.check('graceful-super', 'status', 'app', '--json'));
  }

  /** Asks the program, from outside. */
  async ask(path = '/'): Promise<string> {
    const address = (await this.status()).listeners[0]?.address;
    return (await ask(`http://${address}${path}`)).text;
  }

  statusText(): Promise<string> {
    return this.lab.show('app', 'StatusText');
  }

  /** pid of the master, in the lab. */
  async mainPid(): Promise<number> {
    return Number(await this.lab.show('app', 'MainPID'));
  }
}
