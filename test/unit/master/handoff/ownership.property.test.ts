/**
 * Whatever happens to connections on their way, each has one owner at any time, and one in the end: descriptors that are lost (EMFILE), messages that come
 * late or in another order, workers that are stopped for as long as you like, that refuse and that die. Router and tickets are the real ones.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Clock } from '../../../../src/kernel.ts';
import { Router } from '../../../../src/master/handoff/router.ts';
import type { ConnectionHandle } from '../../../../src/node/connection.ts';
import type { ToWorker } from '../../../../src/protocol/worker.ts';
import { makeTickets, ticketTaker } from '../../../../src/tickets.ts';
import { makeFolder } from '../../helpers/folder.ts';

const OLD = 1;
const LISTENER = 7;
const SILENCE_MS = 2_000;

type Adopt = Extract<ToWorker, { type: 'adopt' }>;
type Sent = { readonly message: Adopt; readonly handle: Connection; readonly onLost: () => void };

/** A connection, and the copy that the master has of it. */
class Connection implements ConnectionHandle {
  readonly id: number;
  /** Who may read it; undefined: it is on its way. */
  owner: number | undefined;
  isClosed = false;
  /** Its owner has died. */
  isLost = false;

  constructor(id: number) {
    this.id = id;
  }

  close(): void {
    assert.ok(!this.isClosed, `the master closes its copy of ${this.id} twice`);
    this.isClosed = true;
  }

  isTakenBy(worker: number): void {
    assert.equal(this.owner, undefined, `connection ${this.id} has two readers: ${this.owner} and ${worker}`);
    this.owner = worker;
  }
}

/** A successor as its process is: what it was sent, and what it has said, wait in its channel. */
interface Successor {
  readonly inbox: Sent[];
  readonly outbox: (() => void)[];
  take(ticket: number): boolean;
  isStopped: boolean;
}

class World implements Disposable {
  readonly #folder = makeFolder();
  readonly #connections: Connection[] = [];
  readonly #successors = new Map<number, Successor>();
  readonly #router: Router;
  #lastWorker = OLD;
  #now = 0;
  #look: (() => void) | undefined;
  readonly #clock: Clock = {
    now: () => this.#now,
    after: () => () => {},
    every: (_ms, then) => {
      this.#look = then;
      return () => {
        this.#look = undefined;
      };
    },
  };

  constructor() {
    this.#router = new Router({
      send: (to, message, handle, onLost) => this.#send(to, message, handle as Connection, onLost),
      successorsOf: () => [...this.#successors.keys()],
      clock: this.#clock,
    });
    this.#router.add(OLD, makeTickets(`${this.#folder.path}/${OLD}`));
    this.#router.granted(OLD, LISTENER);
  }

  serve(): void {
    const worker = ++this.#lastWorker;
    const tickets = makeTickets(`${this.#folder.path}/${worker}`);
    const outbox: (() => void)[] = [];
    const giveBack = (given: readonly number[]) => void outbox.push(() => this.#router.onGivenBack(worker, { type: 'given-back', tickets: given }));
    this.#successors.set(worker, { inbox: [], outbox, take: ticketTaker(tickets.fd, giveBack), isStopped: false });
    this.#router.add(worker, tickets);
    this.#router.granted(worker, LISTENER);
  }

  offer(): void {
    const connection = new Connection(this.#connections.length);
    this.#connections.push(connection);
    this.#router.onOffer(OLD, { type: 'offer', id: connection.id, listener: LISTENER, kind: 'tcp', baggage: '{}' }, connection);
  }

  /** A worker handles something that it was sent, not always what was sent first. */
  receive(at: number, which: number, outcome: 'arrives' | 'is lost' | 'is refused'): void {
    const [worker, successor] = this.#pick(at);
    if (successor === undefined || worker === undefined || successor.isStopped) return;
    const [sent] = successor.inbox.splice(which % Math.max(1, successor.inbox.length), 1);
    if (sent === undefined) return;
    const { message, handle, onLost } = sent;
    const { ticket } = message;
    const say = (what: () => void) => void successor.outbox.push(what);
    if (outcome === 'is lost') return say(onLost);
    const refuse = () => this.#router.onRefused(worker, { type: 'refused', ticket, reason: 'no', isFinal: false });
    if (outcome === 'is refused' || !successor.take(ticket)) return say(refuse);
    handle.isTakenBy(worker);
    say(() => this.#router.onAdopted(worker, { type: 'adopted', ticket, connections: 1 }));
  }

  /** The master hears what a worker has said. */
  hear(at: number): void {
    const [worker, successor] = this.#pick(at);
    if (worker !== undefined) this.#router.heard(worker);
    successor?.outbox.shift()?.();
  }

  toggle(at: number): void {
    const [, successor] = this.#pick(at);
    if (successor) successor.isStopped = !successor.isStopped;
  }

  /** With it its connections; what it has said may be lost, too. */
  die(at: number, isHeard: boolean): void {
    const [worker, successor] = this.#pick(at);
    if (worker === undefined || successor === undefined) return;
    if (isHeard) for (const say of successor.outbox.splice(0)) say();
    for (const connection of this.#connections.filter(({ owner }) => owner === worker)) {
      connection.owner = undefined;
      connection.isLost = true; // unless the master does not know that it was adopted, and gives it to somebody else
    }
    this.#successors.delete(worker);
    this.#router.remove(worker, () => {});
  }

  pass(): void {
    this.#now += SILENCE_MS;
    this.#look?.();
  }

  /** Everything that was stopped goes on, and all that was said is heard. */
  settle(): void {
    for (const successor of this.#successors.values()) successor.isStopped = false;
    for (let rounds = 0; rounds < 3 + this.#lastWorker; rounds++) {
      for (const at of [...this.#successors].keys()) {
        const [, successor] = this.#pick(at);
        while (successor?.inbox.length) this.receive(at, 0, 'arrives');
        while (successor?.outbox.length) this.hear(at);
      }
      this.pass();
    }
  }

  assertOwned(): void {
    for (const { id, owner, isLost, isClosed } of this.#connections) {
      assert.ok(isClosed, `the master still has connection ${id}: it hangs`);
      assert.ok(owner !== undefined || isLost, `connection ${id} is nobody’s`);
    }
  }

  [Symbol.dispose](): void {
    for (const worker of [OLD, ...this.#successors.keys()]) this.#router.remove(worker, () => {});
    this.pass();
    this.#folder[Symbol.dispose]();
  }

  #pick(at: number): [number, Successor] | [undefined, undefined] {
    const all = [...this.#successors];
    return all[at % Math.max(1, all.length)] ?? [undefined, undefined];
  }

  #send(to: number, message: ToWorker, handle: Connection, onLost: (() => void) | undefined): void {
    if (message.type === 'adopt') this.#successors.get(to)?.inbox.push({ message, handle, onLost: onLost as () => void });
    if (message.type === 'stay') this.#connections[message.id]?.isTakenBy(OLD);
  }
}

const at = fc.nat(5);
const outcome = fc.constantFrom('arrives', 'arrives', 'is lost', 'is refused');
const action: fc.Arbitrary<(world: World) => void> = fc.oneof(
  { weight: 6, arbitrary: fc.constant((world: World) => world.offer()) },
  {
    weight: 6,
    arbitrary: fc.tuple(at, fc.constantFrom(0, 0, 0, 1), outcome).map((args) => (world: World) => world.receive(...(args as Parameters<World['receive']>))),
  },
  { weight: 6, arbitrary: at.map((which) => (world: World) => world.hear(which)) },
  { weight: 2, arbitrary: at.map((which) => (world: World) => world.toggle(which)) },
  { weight: 2, arbitrary: fc.constant((world: World) => world.pass()) },
  {
    weight: 1,
    arbitrary: fc.tuple(at, fc.boolean()).map(
      ([which, isHeard]) =>
        (world: World) =>
          world.die(which, isHeard),
    ),
  },
  { weight: 1, arbitrary: fc.constant((world: World) => world.serve()) },
);

test('Each connection has one owner, and in the end nothing hangs, whatever is lost, late, reordered, stopped or killed on its way', () => {
  const property = fc.property(fc.array(action, { minLength: 1, maxLength: 60 }), (actions) => {
    using world = new World();
    world.serve();
    world.serve();
    for (const act of actions) act(world);
    world.settle();
    world.assertOwned();
  });
  fc.assert(property, { numRuns: 300 });
});
