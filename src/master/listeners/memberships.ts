/**
 * The multicast groups of a datagram socket. A membership is the socket's, whoever has it: so it is left when no worker that has the socket wants it, and not when
 * the first of them has no more use for it, as an old one at a reload.
 */
import { type DatagramHandle, leaveGroup, type Membership } from '../../node/datagram.ts';

/** Of one socket. */
export class Memberships {
  readonly #handle: DatagramHandle;
  /** By worker; by what it looks like. */
  readonly #wanted = new Map<number, Map<string, Membership>>();

  constructor(handle: DatagramHandle) {
    this.#handle = handle;
  }

  /** A worker has joined a group. */
  add(worker: number, membership: Membership): void {
    this.#wanted.set(worker, (this.#wanted.get(worker) ?? new Map<string, Membership>()).set(keyOf(membership), membership));
  }

  /** It need not be in it for this worker's sake. */
  remove(worker: number, membership: Membership): void {
    if (this.#wanted.get(worker)?.delete(keyOf(membership))) this.#leaveUnwanted([membership]);
  }

  /** Nor for the sake of any worker but these. */
  keepOnly(workers: Pick<ReadonlyMap<number, unknown>, 'has'>): void {
    for (const [worker, memberships] of this.#wanted) {
      if (workers.has(worker)) continue;
      this.#wanted.delete(worker);
      this.#leaveUnwanted(memberships.values());
    }
  }

  #leaveUnwanted(memberships: Iterable<Membership>): void {
    const wanted = [...this.#wanted.values()];
    for (const membership of memberships) if (!wanted.some((own) => own.has(keyOf(membership)))) leaveGroup(this.#handle, membership);
  }
}

function keyOf({ source, group, via }: Membership): string {
  return JSON.stringify([source, group, via]);
}
