/** Connections on their way through the master: who gets one next, what its old worker is told, and what its account says. */
import assert from 'node:assert/strict';
import { readSync } from 'node:fs';
import { test } from 'node:test';
import { Router } from '../../../../src/master/handoff/router.ts';
import type { ConnectionHandle } from '../../../../src/node/connection.ts';
import type { ToWorker } from '../../../../src/protocol/worker.ts';
import { makeTickets, type Tickets } from '../../../../src/tickets.ts';
import { makeFolder } from '../../helpers/folder.ts';
import { Timeline } from '../../helpers/simulation/timeline.ts';

const LISTENER = 7;
const SILENCE_MS = 1_000;

/** A router of worker 1, which drains, and of others that serve. */
class Station implements Disposable {
  readonly router: Router;
  readonly sent: { readonly to: number; readonly message: ToWorker; readonly onLost: (() => void) | undefined }[] = [];
  /** null: nobody goes on with the connections of worker 1, nor will. */
  successors: number[] | null = [];
  readonly handle: ConnectionHandle & { closed: number } = { closed: 0, close: () => void this.handle.closed++ };
  readonly #folder = makeFolder();
  readonly #tickets = new Map<number, Tickets>();
  readonly #time = new Timeline();

  constructor(...successors: number[]) {
    this.router = new Router({
      clock: this.#time,
      send: (to, message, _handle, onLost) => void this.sent.push({ to, message, onLost }),
      successorsOf: () => this.successors,
    });
    this.start(1);
    for (const worker of successors) this.serve(worker);
    this.router.successors(1);
  }

  start(worker: number, listener = LISTENER): void {
    const tickets = makeTickets(`${this.#folder.path}/${worker}`);
    this.#tickets.set(worker, tickets);
    this.router.add(worker, tickets);
    this.router.granted(worker, listener);
  }

  serve(worker: number, listener = LISTENER): void {
    this.start(worker, listener);
    this.successors?.push(worker);
  }

  offer(): void {
    this.router.onOffer(1, { type: 'offer', id: 1, listener: LISTENER, kind: 'http', baggage: '{}' }, this.handle);
  }

  /** The ticket of the connection, which a worker takes as its own process would. */
  take(worker: number): number {
    const bytes = Buffer.alloc(4);
    readSync(this.#tickets.get(worker)?.fd as number, bytes, 0, 4, null);
    return bytes.readUInt32LE();
  }

  /** What was sent last does not reach the worker. */
  lose(): void {
    this.sent.at(-1)?.onLost?.();
  }

  adopt(worker: number): void {
    this.router.onAdopted(worker, { type: 'adopted', ticket: this.take(worker), connections: 1 });
  }

  refuse(worker: number, isFinal: boolean): void {
    this.router.onRefused(worker, { type: 'refused', ticket: this.take(worker), reason: 'no', isFinal });
  }

  giveBack(worker: number): void {
    this.router.onGivenBack(worker, { type: 'given-back', tickets: [this.take(worker)] });
  }

  /** Ends a worker. @returns what has moved of it, as soon as that is told */
  end(worker: number): { moved?: object } {
    const account: { moved?: object } = {};
    this.successors = this.successors?.filter((other) => other !== worker) ?? null;
    this.router.remove(worker, (moved) => Object.assign(account, { moved }));
    return account;
  }

  /** Lets time pass until silent workers are passed over. */
  pass(): void {
    this.#time.pass(SILENCE_MS);
  }

  last(): unknown {
    const { to, message } = this.sent.at(-1) as { to: number; message: ToWorker };
    return { to, ...message };
  }

  [Symbol.dispose](): void {
    for (const worker of this.#tickets.keys()) this.end(worker);
    this.#folder[Symbol.dispose]();
  }
}

function stay(reason: string, isFinal: boolean): object {
  return { to: 1, type: 'stay', id: 1, reason, isFinal };
}

test('a connection is offered to one after the other; the old worker is told when nobody is left', () => {
  using station = new Station(2, 3);
  station.offer();
  station.refuse(2, true);
  station.refuse(3, true);
  assert.deepEqual(station.last(), stay('worker 3: no', true));
  assert.equal(station.handle.closed, 1);
});

test('who can’t take it at the moment does not make it stay for good', () => {
  using station = new Station(2, 3);
  station.offer();
  station.refuse(2, true);
  station.refuse(3, false);
  assert.deepEqual(station.last(), stay('worker 3: no', false));
});

test('what does not reach a worker goes to the next one at once, though its ticket is still there to be read away', () => {
  using station = new Station(2, 3);
  station.offer();
  station.lose();
  assert.equal((station.last() as { to: number }).to, 3);
  station.take(2);
  station.adopt(3);
  assert.deepEqual(station.last(), { to: 1, type: 'moved', id: 1 });
  assert.equal(station.handle.closed, 1);
  station.lose();
  assert.equal(station.handle.closed, 1, 'what is told twice changes nothing');
});

test('one that a worker has read past goes to somebody else at once', () => {
  using station = new Station(2, 3);
  station.offer();
  station.giveBack(2);
  assert.equal((station.last() as { to: number }).to, 3);
  station.adopt(3);
  assert.deepEqual(station.last(), { to: 1, type: 'moved', id: 1 });
});

test('when all have died, it may be offered again, and goes to the one that replaces them', () => {
  using station = new Station(2, 3);
  station.offer();
  station.end(2);
  assert.equal((station.last() as { to: number }).to, 3);
  station.end(3);
  assert.deepEqual(station.last(), stay('worker 3 has ended', false));
  station.offer();
  assert.deepEqual(station.last(), stay('nobody serves there at the moment', false));
  station.serve(4);
  station.offer();
  station.adopt(4);
  assert.deepEqual(station.last(), { to: 1, type: 'moved', id: 1 });
});

test('while the only successor is replaced it is awaited, where it listened', () => {
  using station = new Station(2);
  assert.deepEqual(station.router.successors(1), { listeners: [LISTENER], areAwaited: false });
  station.end(2);
  station.router.refresh([1]);
  assert.deepEqual(station.last(), { to: 1, type: 'successors', listeners: [LISTENER], areAwaited: true });
  station.serve(3, LISTENER + 1);
  station.router.refresh([1]);
  assert.deepEqual(station.last(), { to: 1, type: 'successors', listeners: [LISTENER + 1], areAwaited: false });
  station.end(3);
  station.router.refresh([1]);
  assert.deepEqual(station.last(), { to: 1, type: 'successors', listeners: [LISTENER + 1], areAwaited: true });
  station.successors = null;
  station.router.refresh([1]);
  assert.deepEqual(station.last(), { to: 1, type: 'successors', listeners: [], areAwaited: false });
});

test('a worker that drains is told the keys of those who may adopt, and of nobody else', () => {
  using station = new Station(2, 3);
  station.start(4);
  for (const worker of [1, 2, 4]) station.router.onKey(worker, { type: 'key', key: `key of ${worker}` });
  assert.deepEqual(station.router.successors(1), { listeners: [LISTENER], areAwaited: false, keys: ['key of 2'] });
  station.router.onKey(3, { type: 'key', key: 'key of 3' });
  station.router.refresh([1]);
  assert.deepEqual(station.last(), { to: 1, type: 'successors', listeners: [LISTENER], areAwaited: false, keys: ['key of 2', 'key of 3'] });
  station.end(2);
  station.router.refresh([1]);
  assert.deepEqual(station.last(), { to: 1, type: 'successors', listeners: [LISTENER], areAwaited: false, keys: ['key of 3'] });
});

test('a worker that withdrew by itself awaits its own replacement', () => {
  using station = new Station();
  assert.deepEqual(station.router.successors(1), { listeners: [LISTENER], areAwaited: true });
});

test('what a worker had sent when it was killed is in its account', () => {
  using station = new Station(2);
  station.offer();
  const account = station.end(1);
  assert.deepEqual(account, {}, 'it is not known yet');
  station.adopt(2);
  assert.deepEqual(account, { moved: { http: 1 } });
  assert.equal(station.handle.closed, 1);
});

test('what nobody takes of a killed worker is not', () => {
  using station = new Station(2);
  station.offer();
  const account = station.end(1);
  station.refuse(2, false);
  assert.deepEqual(account, { moved: {} });
  assert.equal(station.handle.closed, 1);
});

test('the account of a killed worker does not wait for a silent one that has taken its connection', () => {
  using station = new Station(2);
  station.offer();
  station.take(2);
  const account = station.end(1);
  station.pass();
  assert.deepEqual(account, { moved: { http: 1 } });
});

test('the account of a killed worker waits for what a silent one has not taken', () => {
  using station = new Station(2, 3);
  station.offer();
  const account = station.end(1);
  station.pass();
  assert.equal(station.sent.length, 2);
  assert.deepEqual(account, {});
  station.adopt(3);
  assert.deepEqual(account, { moved: { http: 1 } });
});
