/** `graceful-super status`: a table for people, JSON for programs. */

import { describeAccount, duration, megabytes } from '../master/log/wording.ts';
import type { Status, WorkerStatus } from '../protocol/control.ts';
import { fetchStatus, findMaster, findMasters, nameIn } from './client.ts';
import { print } from './print.ts';

/** Without a name: the only master, or a list of all. @returns 0 */
export async function status(argv: Readonly<Record<string, unknown>>): Promise<number> {
  const masters = nameIn(argv) === undefined ? (await findMasters(argv)).masters : [];
  if (masters.length > 1) {
    const all = await Promise.all(masters.map((master) => fetchStatus(master).catch(() => master)));
    const rows = all.map((one) => ('pid' in one ? summary(one) : [one.name, '?', '?', '?', '?', 'does not answer']));
    const known = all.map((one) => ('pid' in one ? one : { name: one.name, error: 'does not answer' }));
    show(argv, known, () => table(['NAME', 'PID', 'GENERATION', 'WORKERS', 'UPTIME', 'LISTENING'], rows));
    return 0;
  }
  const one = await fetchStatus(await findMaster(argv));
  show(argv, one, () => describe(one));
  return 0;
}

function summary(status: Status): string[] {
  const serving = status.workers.filter(({ phase }) => phase === 'serving').length;
  const where = status.listeners.map(({ address }) => address).join(' ');
  return [status.name, String(status.pid), String(status.generation), `${serving}/${status.workersWanted}`, duration(status.uptimeMs), where];
}

function describe(status: Status): string {
  const { name, pid, phase, uptimeMs, version, node, script, listeners, generation, restarts, reload } = status;
  const facts: [string, string][] = [
    ['master', `${name}, pid ${pid}, ${phase} for ${duration(uptimeMs)} (graceful-super ${version}, Node ${node})`],
    ['script', script],
    ['listening', listeners.map((listener) => (listener.name === null ? listener.address : `${listener.name}=${listener.address}`)).join(', ') || 'nowhere'],
    ['generation', `${generation}, ${restarts} restart${restarts === 1 ? '' : 's'}${describeReload(reload)}`],
  ];
  if (status.lastReload) facts.push(['last reload', `${duration(status.lastReload.agoMs)} ago: ${status.lastReload.text}`]);
  const account = status.lastReload?.connections ? describeAccount(status.lastReload.connections) : '';
  if (account !== '') facts.push(['connections', account]);
  if (status.isCrashLooping) facts.push(['crash loop', status.nextRestartInMs === null ? 'restarting' : `next start in ${duration(status.nextRestartInMs)}`]);
  const lines = facts.map(([key, value]) => `${key.padEnd(12)}${value}`);
  return `${lines.join('\n')}\n\n${table(['WORKER', 'PID', 'GENERATION', 'PHASE', 'UPTIME', 'CONNECTIONS', 'MEMORY', 'DEADLINE'], status.workers.map(row))}`;
}

function describeReload({ phase, generation, deadlineInMs }: Status['reload']): string {
  if (phase === 'idle') return '';
  if (phase !== 'holding') return `; a reload to ${generation} is ${phase}`;
  return `; generation ${generation} is a canary, ${deadlineInMs === null ? 'until "promote" or "rollback"' : `promoted in ${duration(deadlineInMs)}`}`;
}

function row(worker: WorkerStatus): string[] {
  const { id, pid, generation, phase, uptimeMs, connections, rssBytes, ailment, deadlineInMs } = worker;
  return [
    String(id),
    String(pid ?? '-'),
    String(generation),
    ailment === null ? phase : `${phase}, to be replaced: ${ailment}`,
    duration(uptimeMs),
    String(connections ?? '?'),
    rssBytes === null ? '?' : megabytes(rssBytes),
    deadlineInMs === null ? '-' : `in ${duration(deadlineInMs)}`,
  ];
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((cells) => (cells[column] ?? '').length)));
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd();
  return [line(head), ...rows.map(line)].join('\n');
}

/** For programs it is exact. */
function show(argv: Readonly<Record<string, unknown>>, facts: unknown, describeFacts: () => string): void {
  if (argv['json']) process.stdout.write(`${JSON.stringify(facts, undefined, 2)}\n`);
  else print(describeFacts());
}
