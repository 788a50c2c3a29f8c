/** Established connections, and every copy of their descriptors: the kernel ends a connection with its last copy. */
import type { ConnectionHandle } from '../../../../src/node/connection.ts';
import type { SimulatedProcess } from './process.ts';

/** What became of a connection: it is there; its worker ended it as it should; its worker cut it; its last copy was closed under it. */
type Fate = 'open' | 'closed' | 'cut' | 'lost';

export class Connection {
  readonly id: number;
  readonly copies: Set<Copy> = new Set();
  fate: Fate = 'open';
  /** Who reads from it; null: nobody, it is on its way. */
  owner: SimulatedProcess | null = null;
  /** Who read from it last. */
  lastOwner: SimulatedProcess | null = null;
  #offeredBy: SimulatedProcess | undefined;
  #isCounted = false;
  readonly #complain: (text: string) => void;

  constructor(id: number, complain: (text: string) => void) {
    this.id = id;
    this.#complain = complain;
  }

  /** Another descriptor of it. */
  copy(holder: string): Copy {
    const copy = new Copy(this, holder, this.#complain);
    this.copies.add(copy);
    return copy;
  }

  /** Somebody begins to read. */
  own(by: SimulatedProcess): void {
    if (this.owner?.isAlive) this.#complain(`connection ${this.id} has two owners: ${this.owner.pid} and ${by.pid}`);
    // one that took it may have died before it said so: then it goes to the next one, or back
    const hasLeft = by !== this.#offeredBy;
    if (this.#offeredBy && hasLeft !== this.#isCounted) this.#offeredBy.handedOver += hasLeft ? 1 : -1;
    this.#isCounted = hasLeft;
    this.owner = by;
    this.lastOwner = by;
  }

  /** Its owner stops reading, and offers it. */
  leave(): void {
    this.#offeredBy = this.lastOwner ?? undefined;
    this.#isCounted = false;
    this.owner = null;
  }

  end(fate: Fate): void {
    if (this.fate === 'open') this.fate = fate;
    this.owner = null;
  }
}

/** A descriptor of a connection, as a raw handle. */
export class Copy implements ConnectionHandle {
  readonly connection: Connection;
  readonly holder: string;
  isClosed = false;
  readonly #complain: (text: string) => void;

  constructor(connection: Connection, holder: string, complain: (text: string) => void) {
    this.connection = connection;
    this.holder = holder;
    this.#complain = complain;
  }

  close(): void {
    if (this.isClosed) return this.#complain(`the copy of connection ${this.connection.id} that ${this.holder} had was closed twice`);
    this.isClosed = true;
    this.connection.copies.delete(this);
    if (this.connection.copies.size === 0) this.connection.end('lost');
  }

  /** Another one, for whoever it is sent to. */
  copy(holder: string): Copy {
    return this.connection.copy(holder);
  }
}
