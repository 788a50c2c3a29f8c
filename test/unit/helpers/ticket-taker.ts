/**
 * A worker as the tickets know it, for tickets.test.ts: it has inherited their descriptor, takes those that it is told to, one
 * after the other, and tells which came out, those that it
 * gave back included.
 */
import { ticketTaker } from '../../../src/tickets.ts';

export const TICKETS_FD = 4;

/** Take these, in their order; but first look for another one until it is there. */
export interface TakeOrder {
  readonly from: number;
  readonly to: number;
  readonly notBefore?: number;
}

/** Some seconds: if the ticket that is waited for was lost, the test fails and does not hang. */
const LOOKS = 1e7;

if (process.send !== undefined) {
  let got: number[] = [];
  const take = ticketTaker(TICKETS_FD, (givenBack) => void got.push(...givenBack));
  process.on('message', ({ from, to, notBefore }: TakeOrder) => {
    got = [];
    if (notBefore !== undefined) for (let looks = 0; looks < LOOKS && !take(notBefore); looks++);
    for (let ticket = from; ticket <= to; ticket++) if (take(ticket)) got.push(ticket);
    process.send?.(got);
  });
  process.send('here');
}
