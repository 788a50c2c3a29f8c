/** Lines for the systemd journal: each carries its priority, none a time of its own. @see sd-daemon(3), systemd.exec(5) on JOURNAL_STREAM */
import { fstatSync } from 'node:fs';

const priorities: Readonly<Record<string, number>> = { error: 3, warn: 4, info: 6, debug: 7 };

/** True if a descriptor leads to the journal itself: a shell in the unit may have pointed it elsewhere. */
export function isJournal({ JOURNAL_STREAM }: Readonly<NodeJS.ProcessEnv>, fd: number): boolean {
  if (!JOURNAL_STREAM) return false;
  try {
    const { dev, ino } = fstatSync(fd, { bigint: true });
    return JOURNAL_STREAM === `${dev}:${ino}`;
  } catch {
    return false; // EBADF: it is closed
  }
}

/** Every line of a text with the priority of its level. */
export function withPriority(level: string, text: string): string {
  return text.replace(/^/gm, `<${priorities[level] ?? 6}>`);
}
