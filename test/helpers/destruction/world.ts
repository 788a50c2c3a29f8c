/** A running master, the load on it, and what faults need to know of it. */
import { request } from 'node:http';
import { join } from 'node:path';
import type { ControlLine, Status } from '../../../src/protocol/control.ts';
import { Crowd } from '../crowd.ts';
import { type LoggedEvent, Rig } from '../rig.ts';
import { Ledger } from './ledger.ts';
import { Passers } from './passers.ts';
import type { Place } from './place.ts';

const LOOK_MS = 2;
const PATIENCE_MS = 60_000;

export class World {
  readonly place: Place;
  readonly rig: Rig;
  readonly crowd: Crowd;
  readonly passers: Passers;
  ledger: Ledger = new Ledger(0);
  /** The master may lack a descriptor for whoever calls it. */
  isDeaf = false;
  /** What should never have happened. */
  readonly complaints: string[] = [];

  private constructor(place: Place) {
    this.place = place;
    this.rig = new Rig(place.options);
    place.clock?.pids.push(this.rig.pid);
    this.crowd = new Crowd(this.rig);
    this.passers = new Passers(this.rig);
  }

  /** Starts a master there. */
  static async start(place: Place): Promise<World> {
    const world = new World(place);
    if (place.log === 'pipe') await world.rig.until('master-ready');
    else world.rig.events.push(await place.untilLogged('master-ready'));
    return world;
  }

  complain(what: string): void {
    this.complaints.push(what);
  }

  /** The master's status; undefined if it can't be had now. */
  async status(): Promise<Status | undefined> {
    try {
      return await this.rig.status();
    } catch (error) {
      if (!this.isDeaf) this.complain(`the master does not answer: ${error}`);
      return undefined;
    }
  }

  /** The next such event; undefined if it does not come in time, or where the log can't be heard. */
  async next(event: string, timeoutMs: number): Promise<LoggedEvent | undefined> {
    const from = this.rig.events.length;
    const until = performance.now() + timeoutMs;
    while (performance.now() < until) {
      const found = this.rig.events.slice(from).find((logged) => logged.event === event);
      if (found) return found;
      await pause(LOOK_MS);
    }
    return undefined;
  }

  /** Asks for a reload over the control socket. @returns whether it was committed; undefined if no answer came and none was owed */
  reload(): Promise<boolean | undefined> {
    return new Promise((resolve) => {
      let isOver = false;
      const fail = (why: string) => {
        clearTimeout(timer);
        if (!isOver && !this.isDeaf) this.complain(`a reload was asked for, and ${why}`);
        isOver = true;
        sent.destroy();
        resolve(undefined);
      };
      const socketPath = join(this.rig.runtimeDir, `${this.rig.name}.sock`);
      const sent = request({ socketPath, method: 'POST', path: '/reload', agent: false }, async (response) => {
        let text = '';
        try {
          for await (const chunk of response) text += chunk;
          const last = JSON.parse(text.trimEnd().split('\n').at(-1) ?? '') as ControlLine;
          if (last.type !== 'outcome') return fail(`its outcome is missing: ${text}`);
          clearTimeout(timer);
          resolve(last.isDone);
        } catch (error) {
          fail(`its answer broke off: ${error}`);
        }
      });
      const timer = setTimeout(() => fail('nobody told its outcome'), PATIENCE_MS);
      sent.on('error', (error) => fail(`nobody answered: ${error}`));
      sent.end();
    });
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
