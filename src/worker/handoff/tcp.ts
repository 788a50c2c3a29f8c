/** Raw connections of a server that opted in. Nothing of the protocol is known here: what is to go on, the program exports. */
import { adoptState, type Carrier, exportState } from './carrier.ts';

export const tcpCarrier: Carrier = {
  pack({ socket, options }) {
    const state = exportState(options, socket);
    return state && { kind: 'tcp', ...state };
  },
  adopt({ arrival, options, baggage }) {
    arrival.announce();
    adoptState(options, arrival.socket, baggage);
  },
};
