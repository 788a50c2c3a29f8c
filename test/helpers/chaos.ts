/** What the tests of kills share: chance that can be repeated, and the state in which a master has calmed down. */
import assert from 'node:assert/strict';
import type { Crowd } from './crowd.ts';
import { descriptors, type LoggedEvent, poll, type Rig } from './rig.ts';

/** Pass the one that a failed run has printed to repeat it, as far as processes can be repeated. */
export const seed: number = Number(process.env['SEED'] ?? Date.now() % 1_000_000);

/** Nothing is closed for being idle, no drain ends by its timeout, and who was killed is replaced at once. */
export const patient: readonly string[] = [
  ...['--idle-grace', '10m', '--drain-timeout', '10m', '--max-draining', '100'],
  ...['--restart-limit', '1000', '--backoff-min', '1ms', '--backoff-max', '1ms'],
];

/** Most connections of a worker that are in flight at once, and how many as long as none has arrived; of src/worker/handoff/mover.ts. */
export const WINDOW = 4;
export const FIRST_WINDOW = 1;

/** Connections of each kind. */
export const EACH = 40;

/** Numbers in [0, 1). */
export function chance(start: number = seed): () => number {
  let state = start;
  return () => {
    state = (state * 1_664_525 + 1_013_904_223) % 2 ** 32;
    return state / 2 ** 32;
  };
}

/** Waits more finely than a timer can. */
export async function moment(ms: number): Promise<void> {
  const until = performance.now() + ms;
  while (performance.now() < until) await new Promise((resolve) => setImmediate(resolve));
}

/** As many workers as wanted serve, and nobody else is left. */
export async function calm(rig: Rig, workers: number): Promise<number[]> {
  await poll(
    async () => {
      const status = await rig.status();
      return status.reload.phase === 'idle' && status.workers.length === workers && status.workers.every(({ phase }) => phase === 'serving');
    },
    () => `the master does not calm down: ${rig.stderr.slice(-4_000)}`,
  );
  return rig.pids();
}

/** Begins a reload. @returns when the new generation serves, and perhaps its first connection has moved */
export async function reloadBegins(rig: Rig, old: readonly number[], waitsForFirst: boolean): Promise<LoggedEvent> {
  rig.forget();
  const before = rig.stdout.length;
  rig.signal('SIGHUP');
  const committed = await rig.until('reload-committed');
  const isMove = new RegExp(`^adopted (?!(${old.join('|')}) )`, 'm');
  if (waitsForFirst) await rig.waitFor(() => isMove.exec(rig.stdout.slice(before)) ?? undefined, 'a first connection that moved');
  return committed;
}

/** Only what the killed owned is lost, and no answer was wrong. @returns how many were lost */
export async function assertLostBy(rig: Rig, crowd: Crowd, killed: ReadonlySet<number>): Promise<number> {
  assert.deepEqual(crowd.mistakes, []);
  const lost = crowd.clients.filter(({ ended, isToldToClose }) => ended !== undefined && !isToldToClose);
  for (const client of lost) {
    const what = `the owner of ${client.kind} ${client.key} (${client.ended}), ${crowd.ownerOf(client)}, to be one of the killed: ${[...killed]}`;
    await rig.waitFor(() => killed.has(crowd.ownerOf(client)) || undefined, what);
  }
  const unanswered = crowd.clients.filter(({ isToldToClose, waiting }) => isToldToClose && waiting.length > 0);
  assert.deepEqual(unanswered, [], 'what was sent before the last answer is answered');
  return lost.length;
}

/** Stops a process until it is woken, at the latest at the end of the test, which could not end it otherwise. */
export function asleep(pid: number): Disposable & { wake(): void } {
  process.kill(pid, 'SIGSTOP');
  let isAsleep = true;
  const wake = () => {
    if (isAsleep) trySignal(pid, 'SIGCONT');
    isAsleep = false;
  };
  return { wake, [Symbol.dispose]: wake };
}

/** Connections by kind, together. */
export function total(counts: unknown): number {
  return Object.values(counts as Record<string, number>).reduce((sum, count) => sum + count, 0);
}

/** Open sockets of a process. */
export function sockets(pid: number): number {
  return descriptors(pid).filter((target) => target.startsWith('socket:')).length;
}

/** Moves every connection again and again. @returns how often one has moved */
export async function moveAround(rig: Rig, crowd: Crowd, reloads: number): Promise<number> {
  let moves = 0;
  for (let reload = 0; reload < reloads; reload++) {
    const { generation, outcome } = await rig.hup();
    assert.equal(outcome, 'committed');
    const gone = await rig.until('generation-gone', (event) => event['generation'] === (generation as number) - 1);
    assert.equal(total(gone['moved']), crowd.clients.length, gone.message);
    moves += crowd.clients.length;
    const [pid] = await rig.pids();
    await crowd.askAll();
    assert.deepEqual(crowd.mistakes, []);
    assert.ok(
      crowd.clients.every((client) => client.isOpen && client.pid === pid),
      'everybody is answered by the new worker',
    );
  }
  return moves;
}

export type Victims = 'old' | 'new' | 'both';

export interface Round {
  readonly random: () => number;
  readonly sum: { kills: number; lost: number; moved: number };
  readonly workers: number;
  readonly victims: Victims;
}

/** A reload in which up to two workers of each kind die, and the same for those that replace them. */
export async function killSome(rig: Rig, crowd: Crowd, { random, sum, workers, victims }: Round): Promise<void> {
  await crowd.fill(EACH);
  const old = await rig.pids();
  const started = crowd.clients.length;
  crowd.takeAdoptions();
  crowd.talk();
  const { previous } = await reloadBegins(rig, old, random() < 0.8);
  const killed = new Set<number>();
  const kill = async (pid: number) => {
    await moment(random() ** 2 * 20);
    if (trySignal(pid, 'SIGKILL')) killed.add(pid);
  };
  const successors = () => rig.all('worker-serving').flatMap(({ pid }) => (killed.has(pid as number) ? [] : [pid as number]));
  const dying = [...(victims === 'new' ? [] : old.slice(0, 2)), ...(victims === 'old' ? [] : successors().slice(0, 2))];
  await Promise.all(dying.map(kill));
  if (victims === 'new') await kill(await rig.waitFor(() => successors()[workers === 1 ? 0 : 1], 'a replacement'));
  const pids = await calm(rig, workers);
  await crowd.rest();
  sum.kills += killed.size;
  sum.lost += await assertLostBy(rig, crowd, killed);
  const told = crowd.clients.filter(({ isToldToClose }) => isToldToClose);
  if (victims === 'old') assert.equal(told.length, 0, 'while there are successors, no answer ends a connection');
  await crowd.askAll();
  assert.deepEqual(crowd.mistakes, []);
  assert.ok(crowd.clients.every(({ isOpen, pid }) => !isOpen || pids.includes(pid)));
  const account = await rig.until('generation-gone', ({ generation }) => generation === previous);
  sum.moved += total(account['moved']);
  const moves = crowd.takeAdoptions().filter(({ pid }) => !old.includes(pid)).length;
  const deadOld = old.filter((pid) => killed.has(pid)).length;
  // what a killed one has said last, nobody may have heard
  const unheard = moves - total(account['moved']);
  assert.ok(unheard >= 0 && unheard <= killed.size - deadOld, `${moves} moved, ${account.message}`);
  if (deadOld === 0) assert.equal(total(account['closed']), told.length, `of ${started} so many were told to close`);
  assert.equal(total(account['cut']), 0);
}

function trySignal(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, signal);
  } catch {
    return false; // ESRCH: it had nothing left to do
  }
}
