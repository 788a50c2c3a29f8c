/** The kernel as a master in a simulated world has it: each call may fail. */
import { EventEmitter } from 'node:events';
import type { Cancel, Kernel } from '../../../../src/kernel.ts';
import { EOPNOTSUPP } from '../../../../src/node/datagram.ts';
import type { ListenHandle } from '../../../../src/node/handle.ts';
import { makeTickets, type Tickets } from '../../../../src/tickets.ts';
import { SimulatedProcess } from './process.ts';
import type { Timeline } from './timeline.ts';
import type { World } from './world.ts';

const EADDRINUSE = -98;
const EACCES = -13;
const TICKETS_AT = 4;

/** A listening socket. */
export interface SimulatedListener extends ListenHandle {
  readonly port: number;
  isClosed: boolean;
}

export class SimulatedKernel implements Kernel {
  readonly #world: World;
  readonly #time: Timeline;

  /** As a function of its own: those of a kernel need no `this`. */
  readonly bind: Kernel['bind'] = (address, port): ListenHandle | number => {
    const fault = this.#world.calls.next('bind', String(port));
    if (fault !== undefined) return fault === 'in use' ? EADDRINUSE : EACCES;
    const listener: SimulatedListener = {
      port,
      isClosed: false,
      listen: () => 0,
      close: () => {
        if (listener.isClosed) this.#world.complain(`listener ${port} was closed twice`);
        listener.isClosed = true;
      },
      getsockname: (into) => {
        Object.assign(into, { address, port, family: 'IPv4' });
        return 0;
      },
    };
    this.#world.listeners.push(listener);
    return listener;
  };

  constructor(world: World, time: Timeline) {
    this.#world = world;
    this.#time = time;
  }

  /** Programs of the simulation bind none. */
  bindDatagram(): number {
    return EOPNOTSUPP;
  }

  now(): number {
    return this.#time.now();
  }

  after(ms: number, then: () => void): Cancel {
    const cancel = this.#timer(
      (strike) => this.#time.after(ms, strike),
      () => {
        cancel();
        then();
      },
    );
    return cancel;
  }

  every(ms: number, then: () => void): Cancel {
    return this.#timer((strike) => this.#time.every(ms, strike), then);
  }

  fork(_script: string, _args: readonly string[], { stdio }: Parameters<Kernel['fork']>[2]): ReturnType<Kernel['fork']> {
    return this.#fork(Number((stdio as readonly unknown[])[TICKETS_AT])) as ReturnType<Kernel['fork']>;
  }

  killGroup(leader: number): void {
    const process = this.#world.processes.find(({ pid }) => pid === leader);
    const fault = this.#world.calls.next('kill a group', String(leader), process);
    if (fault === 'it is not permitted') throw Object.assign(new Error('kill EPERM'), { code: 'EPERM' });
    if (!process?.isAlive) throw Object.assign(new Error('kill ESRCH'), { code: 'ESRCH' });
    process.signal('SIGKILL');
  }

  /** Simulated processes are none that a shell could kill. */
  startShell(): { write(): boolean } {
    return { write: () => true };
  }

  /** Simulated processes have no children. */
  signalRest(): boolean {
    return false;
  }

  hasLiving(): boolean {
    return false;
  }

  openTickets(path: string): Tickets {
    if (this.#world.calls.next('open tickets', '') !== undefined) throw noSpace();
    const tickets = makeTickets(path);
    this.#world.openTickets++;
    let isOpen = true;
    return {
      fd: tickets.fd,
      issue: (ticket) => {
        if (this.#world.calls.next('issue a ticket', String(ticket)) !== undefined) throw noSpace();
        tickets.issue(ticket);
      },
      recall: () => {
        if (this.#world.calls.next('recall tickets', '') !== undefined) return new Set();
        return tickets.recall();
      },
      close: () => {
        if (!isOpen) return this.#world.complain('tickets were closed twice');
        isOpen = false;
        this.#world.openTickets--;
        tickets.close();
      },
    };
  }

  #fork(tickets: number): EventEmitter {
    const pid = 1001 + this.#world.processes.length;
    const fault = this.#world.calls.next('fork', '');
    if (fault === 'it throws') throw Object.assign(new Error('spawn EAGAIN'), { code: 'EAGAIN' });
    if (fault === 'it never begins') return this.#stillborn();
    const process = new SimulatedProcess(this.#world, pid, Number.isNaN(tickets) ? undefined : tickets);
    this.#world.processes.push(process);
    process.hangs = fault === 'it hangs';
    if (fault === 'it dies at once') this.#world.after(0, () => process.die(null, 'SIGSEGV'));
    return process;
  }

  /** What Node gives where it could not spawn. */
  #stillborn(): EventEmitter {
    const child = Object.assign(new EventEmitter(), { pid: undefined, connected: false, exitCode: null, signalCode: null, kill: () => false });
    this.#world.soon(() => void child.emit('error', Object.assign(new Error('spawn EAGAIN'), { code: 'EAGAIN' })));
    return child;
  }

  /** It is counted while it is set. */
  #timer(plant: (strike: () => void) => Cancel, then: () => void): Cancel {
    const { timers } = this.#world;
    const timer = {};
    timers.add(timer);
    const unplant = plant(() => this.#world.masterStrikes(() => timers.has(timer) && then()));
    return () => {
      timers.delete(timer);
      unplant();
    };
  }
}

function noSpace(): Error {
  return Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
}
