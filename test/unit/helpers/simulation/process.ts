/**
 * A worker's process as its master has it: a `ChildProcess` whose other end is a `Program`, a few milliseconds away. Like Node's, its channel writes one
 * handle at a time: everything behind it waits until the other side has acknowledged it.
 */
import { EventEmitter } from 'node:events';
import type { Cancel } from '../../../../src/kernel.ts';
import type { FromWorker, ToWorker, WorkerIdentity } from '../../../../src/protocol/worker.ts';
import { Copy } from './connection.ts';
import type { SimulatedListener } from './kernel.ts';
import { Program } from './program.ts';
import type { World } from './world.ts';

const COMMAND = 'NODE_GRACEFUL_SUPER';
const LATENCY_MS = 2;

export type SentHandle = Copy | SimulatedListener;

interface Sent {
  readonly envelope: { readonly cmd: string; readonly body: ToWorker };
  readonly handle: SentHandle | undefined;
  readonly written: (error: Error | null) => void;
  /** It does not arrive, nor does the message. */
  readonly isLost: boolean;
}

export class SimulatedProcess extends EventEmitter {
  readonly pid: number;
  readonly stdio: readonly unknown[];
  connected = true;
  exitCode: number | null = null;
  signalCode: string | null = null;
  isAlive = true;
  /** Something was done to it that may cost connections. */
  isFaulty = false;
  /** So many connections of it live on in others. */
  handedOver = 0;
  /** It never comes to be a worker. */
  hangs = false;
  readonly program: Program;
  readonly #world: World;
  readonly #waiting: Sent[] = [];
  /** What it was to do while it was stopped. */
  readonly #late: (() => void)[] = [];
  #isStopped = false;
  #isUnacknowledged = false;
  #isHangingUp = false;
  /** Descriptors that lie in its channel, or are open in it. */
  readonly copies: Set<Copy> = new Set();

  constructor(world: World, pid: number, ticketsFd: number | undefined) {
    super();
    this.#world = world;
    this.pid = pid;
    this.program = new Program(world, this, ticketsFd);
    this.stdio = [null, null, null, null, null, this.#gate()];
  }

  /** As `ChildProcess.send`. */
  send(envelope: Sent['envelope'], handle: SentHandle | undefined, _options: object, written: Sent['written']): boolean {
    const { body } = envelope;
    const fault = this.#world.calls.next(handle ? 'send a handle' : 'send', body.type, this);
    if (fault === 'the channel closes') this.hangUp();
    if (!this.connected) {
      this.#world.soon(() => written(new Error('channel closed')));
      return false;
    }
    const sent: Sent = { envelope, handle, written, isLost: fault === 'its handle is lost' };
    if (this.#isUnacknowledged) this.#waiting.push(sent);
    else this.#write(sent);
    return true;
  }

  /** As `ChildProcess.kill`. */
  kill(signal: string): boolean {
    const fault = this.#world.calls.next('kill', signal, this);
    if (!this.isAlive || this.#hasExited) return false;
    if (fault === 'it is not permitted') return !this.emit('error', Object.assign(new Error('kill EPERM'), { code: 'EPERM' }));
    this.signal(signal);
    return true;
  }

  /** It gets a signal. */
  signal(signal: string): void {
    if (signal === 'SIGKILL') this.die(null, signal);
    else this.do(() => this.program.onSigterm());
  }

  /** It says something, with a copy of a handle perhaps. */
  tell(body: FromWorker, copy?: Copy, onLost?: () => void): void {
    if (!this.isAlive || this.#isHangingUp) return;
    const fault = this.#world.calls.next(copy ? 'hear of a handle' : 'hear', body.type, this);
    if (!this.isAlive) return; // it died before it could
    const inTransit = copy?.copy('the channel to the master');
    this.#world.after(LATENCY_MS, () =>
      this.#world.masterDoes(() => {
        if (inTransit !== undefined && fault === 'its handle is lost') {
          inTransit.close();
          this.#world.after(LATENCY_MS, () => this.do(() => onLost?.()));
          return;
        }
        const handle = inTransit?.copy('the master');
        inTransit?.close();
        this.emit('internalMessage', { cmd: COMMAND, body }, handle);
      }),
    );
    if (fault === 'it dies after it') this.die(null, 'SIGSEGV');
  }

  /** A descriptor of its own: closed with it. */
  hold(copy: Copy): Copy {
    this.copies.add(copy);
    return copy;
  }

  after(ms: number, then: () => void): Cancel {
    return this.#world.after(ms, () => this.do(then));
  }

  /** At once, or when it is continued; never, once it is dead. */
  do(then: () => void): void {
    if (this.#isStopped) this.#late.push(then);
    else if (this.isAlive) then();
  }

  stop(ms: number): void {
    if (this.#isStopped) return;
    this.isFaulty = true;
    this.#isStopped = true;
    this.#world.after(ms, () => {
      this.#isStopped = false;
      for (const then of this.#late.splice(0)) this.do(then);
    });
  }

  die(code: number | null, signal: string | null): void {
    if (!this.isAlive) return;
    if (signal !== null) this.isFaulty = true;
    this.isAlive = false;
    for (const copy of this.copies) if (!copy.isClosed) copy.close();
    this.#world.after(this.#world.exitIsToldAfterMs, () =>
      this.#world.masterDoes(() => {
        this.exitCode = code;
        this.signalCode = signal;
        this.emit('exit', code, signal);
      }),
    );
    this.#disconnect();
    this.#world.after(2 * LATENCY_MS + this.#world.exitIsToldAfterMs, () => this.#world.masterDoes(() => this.emit('close')));
  }

  /** It closes its channel, and lives on. */
  hangUp(): void {
    if (this.#isHangingUp || !this.isAlive) return;
    this.isFaulty = true;
    this.#disconnect();
    this.do(() => this.program.onDisconnect());
  }

  #disconnect(): void {
    if (this.#isHangingUp) return;
    this.#isHangingUp = true;
    // after what it has said
    this.#world.after(LATENCY_MS, () =>
      this.#world.masterDoes(() => {
        this.connected = false;
        this.emit('disconnect');
      }),
    );
  }

  #write({ envelope, handle, written, isLost }: Sent): void {
    // to one that has ended it is an error that nobody hears of
    if (handle?.isClosed && !this.#hasExited) this.#world.complain(`a closed handle was to be sent with ${envelope.body.type} to ${this.pid}`);
    const inTransit = handle instanceof Copy && !handle.isClosed && this.isAlive ? this.hold(handle.copy(`the channel to ${this.pid}`)) : undefined;
    if (handle) this.#isUnacknowledged = true;
    this.#world.soon(() => written(null));
    this.#world.after(LATENCY_MS, () => this.do(() => this.#receive(envelope.body, inTransit, handle, isLost)));
  }

  #receive(body: ToWorker, inTransit: Copy | undefined, handle: SentHandle | undefined, isLost: boolean): void {
    const isHeard = !isLost && !this.#isHangingUp;
    const copy = inTransit && isHeard ? this.hold(inTransit.copy(`${this.pid}`)) : undefined;
    inTransit?.close();
    if (handle) this.#acknowledge(isLost ? 'NODE_HANDLE_NACK' : 'NODE_HANDLE_ACK');
    if (isHeard) this.program.onMessage(body, copy);
  }

  #acknowledge(cmd: string): void {
    this.#world.after(LATENCY_MS, () =>
      this.#world.masterDoes(() => {
        if (!this.connected) return;
        this.emit('internalMessage', { cmd });
        this.#isUnacknowledged = false;
        while (this.#waiting.length > 0 && !this.#isUnacknowledged) this.#write(this.#waiting.shift() as Sent);
      }),
    );
  }

  /** Its master has been told. */
  get #hasExited(): boolean {
    return this.exitCode !== null || this.signalCode !== null;
  }

  #gate(): EventEmitter {
    const gate = Object.assign(new EventEmitter(), {
      end: (text: string, ended: () => void) => {
        this.#world.calls.next('name', 'identity', this);
        this.#world.soon(ended);
        this.#world.after(LATENCY_MS, () => this.do(() => this.program.begin(JSON.parse(text) as WorkerIdentity)));
      },
      destroy() {},
    });
    return gate;
  }
}
