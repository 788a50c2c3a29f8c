/** Whoever takes the ticket owns the connection: each comes out once, in whichever process. */
import assert from 'node:assert/strict';
import { type ChildProcess, fork, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { makeTickets, nextTicket, type Tickets, ticketTaker } from '../../src/tickets.ts';
import { type Folder, makeFolder } from './helpers/folder.ts';
import { type TakeOrder, TICKETS_FD } from './helpers/ticket-taker.ts';

const TAKER = fileURLToPath(new URL('helpers/ticket-taker.ts', import.meta.url));

/** prlimit(1) is of util-linux. */
function noLimits(): string | false {
  return spawnSync('prlimit', ['--version']).status === 0 ? false : 'there is no prlimit here';
}

interface Taker extends AsyncDisposable {
  readonly process: ChildProcess;
  /** What it tells next. */
  next(): Promise<unknown>;
  order(order: TakeOrder): void;
}

/** A process that has inherited the tickets, and is there. */
async function startTaker(tickets: Tickets): Promise<Taker> {
  const stdio: ('inherit' | 'ipc' | number)[] = ['inherit', 'inherit', 'inherit', 'ipc'];
  stdio[TICKETS_FD] = tickets.fd;
  const process = fork(TAKER, { stdio, execArgv: ['--import', 'tsx'] });
  const taker: Taker = {
    process,
    next: async () => (await once(process, 'message'))[0] as unknown,
    order: (order) => void process.send(order),
    async [Symbol.asyncDispose]() {
      const exit = once(process, 'exit');
      process.kill('SIGKILL');
      await exit;
    },
  };
  assert.equal(await taker.next(), 'here');
  return taker;
}

function issue(tickets: Tickets, from: number, to: number): void {
  for (const ticket of range(from, to)) tickets.issue(ticket);
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, index) => from + index);
}

function inFolder(folder: Folder): Tickets & Disposable {
  const tickets = makeTickets(join(folder.path, 'tickets'));
  return { ...tickets, [Symbol.dispose]: () => tickets.close() };
}

test('they are in a file that nobody else can open, and that leaves nothing behind', () => {
  using folder = makeFolder();
  using _tickets = inFolder(folder);
  assert.deepEqual(readdirSync(folder.path), []);
});

test('a path that is not free is left as it is', () => {
  using folder = makeFolder();
  const path = folder.write('tickets', 'theirs');
  assert.throws(() => makeTickets(path), { code: 'EEXIST' });
  assert.ok(existsSync(path));
});

test('a close that fails is no error: the descriptor is gone all the same', () => {
  using folder = makeFolder();
  const tickets = makeTickets(join(folder.path, 'tickets'));
  closeSync(tickets.fd);
  tickets.close();
});

test('tickets that can’t be read are nobody’s', () => {
  using folder = makeFolder();
  const tickets = makeTickets(join(folder.path, 'tickets'));
  tickets.issue(1);
  const take = ticketTaker(tickets.fd, () => {});
  closeSync(tickets.fd);
  assert.throws(() => take(1), /has closed descriptor/);
  assert.deepEqual(tickets.recall(), new Set());
});

test('a ticket is taken once', () => {
  using folder = makeFolder();
  using tickets = inFolder(folder);
  const take = ticketTaker(tickets.fd, () => {});
  tickets.issue(7);
  assert.deepEqual([take(7), take(7)], [true, false]);
  assert.deepEqual(tickets.recall(), new Set());
});

test('a ticket that was never issued is not there', () => {
  using folder = makeFolder();
  using tickets = inFolder(folder);
  const take = ticketTaker(tickets.fd, () => {});
  assert.equal(take(1), false);
  tickets.issue(2);
  assert.deepEqual([take(1), take(2)], [false, true]);
});

test('those that lie before the one that is taken are given back, and are the taker’s no more', () => {
  using folder = makeFolder();
  using tickets = inFolder(folder);
  const returned: number[] = [];
  const take = ticketTaker(tickets.fd, (given) => returned.push(...given));
  issue(tickets, 1, 4);
  assert.equal(take(3), true);
  assert.deepEqual(returned, [1, 2]);
  assert.deepEqual([take(1), take(2), take(4)], [false, false, true]);
  assert.deepEqual(returned, [1, 2]);
});

test('one that lies behind the one that is looked for is kept for later, across the end of the numbers, too', () => {
  using folder = makeFolder();
  using tickets = inFolder(folder);
  const returned: number[] = [];
  const take = ticketTaker(tickets.fd, (given) => returned.push(...given));
  const last = 2 ** 32 - 1;
  for (const ticket of [last, 1, 2]) tickets.issue(ticket);
  assert.deepEqual([take(last - 1), take(1), take(last), take(2)], [false, true, false, true]);
  assert.deepEqual(returned, [last]);
});

test('a descriptor that is closed, or another file’s by now, is not read: the error says why', () => {
  using folder = makeFolder();
  using tickets = inFolder(folder);
  const path = folder.write('theirs', '12345678');
  const copy = openSync(`/proc/self/fd/${tickets.fd}`, 'r'); // as a worker has it
  const take = ticketTaker(copy, () => {});
  tickets.issue(1);
  closeSync(copy);
  assert.throws(() => take(1), /has closed descriptor/);
  const theirs = openSync(path, 'r');
  assert.equal(theirs, copy);
  assert.throws(() => take(1), /has closed descriptor/);
  assert.equal(readFileSync(theirs, 'utf8'), '12345678');
  closeSync(theirs);
});

test('what is recalled can’t be taken, nor recalled again', () => {
  using folder = makeFolder();
  using tickets = inFolder(folder);
  const take = ticketTaker(tickets.fd, () => {});
  issue(tickets, 1, 3);
  assert.equal(take(1), true);
  assert.deepEqual(tickets.recall(), new Set([2, 3]));
  assert.deepEqual([take(2), take(3)], [false, false]);
  assert.deepEqual(tickets.recall(), new Set());
});

test('they can be issued after a recall', () => {
  using folder = makeFolder();
  using tickets = inFolder(folder);
  const take = ticketTaker(tickets.fd, () => {});
  tickets.issue(1);
  tickets.recall();
  issue(tickets, 2, 3);
  assert.equal(take(2), true);
  assert.deepEqual(tickets.recall(), new Set([3]));
});

test('the largest number is one, and 1 follows it', () => {
  using folder = makeFolder();
  using tickets = inFolder(folder);
  const last = 2 ** 32 - 1;
  tickets.issue(last);
  tickets.issue(nextTicket(last));
  assert.deepEqual(tickets.recall(), new Set([last, 1]));
  assert.deepEqual([nextTicket(0), nextTicket(1), nextTicket(last - 1)], [1, 2, last]);
});

test('what is no ticket is refused, and nothing is issued', () => {
  using folder = makeFolder();
  using tickets = inFolder(folder);
  for (const wrong of [-1, 2 ** 32]) assert.throws(() => tickets.issue(wrong), RangeError);
  assert.deepEqual(tickets.recall(), new Set());
});

test('one that fits only in part, under a limit of file size, was not issued, and nothing of it is read', { skip: noLimits() }, () => {
  using folder = makeFolder();
  const program = `
    import { spawnSync } from 'node:child_process';
    import { makeTickets } from ${JSON.stringify(fileURLToPath(new URL('../../src/tickets.ts', import.meta.url)))};
    const tickets = makeTickets(${JSON.stringify(join(folder.path, 'tickets'))});
    const issue = (ticket) => { try { tickets.issue(ticket); return 'issued'; } catch (error) { return error.message; } };
    const outcomes = [[issue(1), issue(2), [...tickets.recall()]]];
    spawnSync('prlimit', ['--fsize=unlimited', '--pid', String(process.pid)]);
    outcomes.push([issue(3), [...tickets.recall()]]);
    console.log(JSON.stringify(outcomes));`;
  const node = [process.execPath, '--import', 'tsx', '--input-type=module', '--eval', program];
  const { stdout, stderr } = spawnSync('prlimit', ['--fsize=6:unlimited', ...node], { encoding: 'utf8', env: { ...process.env, TSX_DISABLE_CACHE: '1' } });
  assert.equal(stderr, '');
  assert.deepEqual(JSON.parse(stdout), [
    ['issued', 'EFBIG: file too large, write', [1]],
    ['issued', [3]],
  ]);
});

test('a process that has inherited them takes what was issued before and after its start', async () => {
  using folder = makeFolder();
  using tickets = inFolder(folder);
  tickets.issue(1);
  await using taker = await startTaker(tickets);
  tickets.issue(2);
  taker.order({ from: 1, to: 3 });
  assert.deepEqual(await taker.next(), [1, 2]);
  assert.deepEqual(tickets.recall(), new Set());
});

test('a process that was stopped meanwhile finds that its tickets were recalled', async () => {
  using folder = makeFolder();
  using tickets = inFolder(folder);
  await using taker = await startTaker(tickets);
  taker.process.kill('SIGSTOP');
  issue(tickets, 1, 3);
  taker.order({ from: 1, to: 4 });
  assert.deepEqual(tickets.recall(), new Set([1, 2, 3]));
  tickets.issue(4);
  taker.process.kill('SIGCONT');
  assert.deepEqual(await taker.next(), [4]);
});

test('what a process had taken when it was killed stays taken', async () => {
  using folder = makeFolder();
  using tickets = inFolder(folder);
  issue(tickets, 1, 3);
  {
    await using taker = await startTaker(tickets);
    taker.order({ from: 1, to: 2 });
    assert.deepEqual(await taker.next(), [1, 2]);
  }
  assert.deepEqual(tickets.recall(), new Set([3]));
});

test('of 10,000 tickets that a process takes while they are issued and recalled, each comes out exactly once', async () => {
  using folder = makeFolder();
  using tickets = inFolder(folder);
  await using taker = await startTaker(tickets);
  const [LAST, BELL, CHUNK] = [10_000, 10_001, 5];
  taker.order({ from: 1, to: LAST, notBefore: BELL });
  const result = taker.next();
  const recalled: number[] = [];
  for (let from = 1; from < LAST; from += CHUNK) {
    issue(tickets, from, from + CHUNK - 1);
    recalled.push(...tickets.recall());
  }
  tickets.issue(BELL);
  const taken = (await result) as number[];
  assert.deepEqual(tickets.recall(), new Set());
  assert.deepEqual(
    [...taken, ...recalled].sort((a, b) => a - b),
    range(1, LAST),
  );
});
