/** What Linux tells of a process in /proc/PID/stat. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Some of it. @see proc_pid_stat(5) */
export interface ProcessStat {
  /** A letter: `Z` and `X` are of the dead. */
  readonly state: string;
  readonly parent: number;
  /** Of processes. */
  readonly group: number;
  /** The device number of its controlling terminal; 0: it has none. */
  readonly terminal: number;
  /** The group that its terminal belongs to just now. */
  readonly foreground: number;
  /** When it began, in clock ticks since boot. */
  readonly startTicks: number;
}

/** `proc` is where processes are told of. @throws ENOENT, ESRCH: there is no such process, or no /proc */
export function readProcessStat(pid: number | string, proc: string = '/proc'): ProcessStat {
  const text = readFileSync(join(proc, String(pid), 'stat'), 'latin1');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' '); // a command's name may hold spaces, brackets and line breaks
  const [state = '', parent, group, , terminal, foreground] = fields;
  return {
    state,
    parent: Number(parent),
    group: Number(group),
    terminal: Number(terminal),
    foreground: Number(foreground),
    startTicks: Number(fields[19]),
  };
}
