/** What a worker that has asked for a listener is answered. */
import type { DatagramHandle } from '../../node/datagram.ts';
import type { ListenHandle } from '../../node/handle.ts';
import type { ToWorker } from '../../protocol/worker.ts';

/** The answer to a worker. */
export interface Grant extends Omit<Extract<ToWorker, { type: 'listener' }>, 'type' | 'id'> {
  readonly handle: ListenHandle | DatagramHandle | undefined;
}

/** There is none. */
export function refusal({ errno, address, addressType }: Pick<Grant, 'errno' | 'address' | 'addressType'>): Grant {
  return { errno, address, addressType, handle: undefined, listener: 0, backlog: 0, isAdmitted: false, isPromised: false, serverData: null };
}
