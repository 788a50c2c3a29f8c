/** What can be asked for over the control socket, and how it is written. */
import type { Canary, Scaling } from '../../core/event.ts';

/** What the core is told, less who asked and when. */
export type Command =
  | { readonly type: 'reload-requested'; readonly canary?: Canary; readonly allowsAddressChange?: boolean }
  | { readonly type: 'promote-requested' }
  | { readonly type: 'rollback-requested'; readonly isForced: boolean }
  | { readonly type: 'scale-requested'; readonly change: Scaling };

interface Mistake {
  readonly mistake: string;
}

const LARGEST = 2 ** 31 - 1;

/** Which parameters a path takes; all are whole numbers. */
const known: Readonly<Record<string, readonly string[]>> = { '/reload': ['canary', 'hold', 'allow'], '/rollback': ['force'], '/scale': ['to', 'by'] };

/** `/reload?canary=1&hold=60000&allow=1`, times in milliseconds, `allow` for another address; `/scale?to=4`, `/scale?by=-1`; `/promote`; `/rollback?force=1`. */
export function parseCommand(pathname: string, parameters: URLSearchParams): Command | Mistake {
  const numbers: Record<string, number> = {};
  for (const [key, value] of parameters) {
    if (!known[pathname]?.includes(key)) return { mistake: `${pathname} takes no parameter ${key}` };
    const number = /^-?\d+$/.test(value) ? Number(value) : Number.NaN;
    if (!(Math.abs(number) <= LARGEST)) return { mistake: `${key} is a whole number, got ${value}` };
    numbers[key] = number;
  }
  if (pathname === '/reload') return toReload(numbers);
  if (pathname === '/scale') return toScaling(numbers);
  return pathname === '/promote' ? { type: 'promote-requested' } : { type: 'rollback-requested', isForced: numbers['force'] === 1 };
}

function toReload({ canary, hold, allow }: Record<string, number>): Command | Mistake {
  const reload = { type: 'reload-requested', ...(allow === 1 && { allowsAddressChange: true }) } as const;
  if (canary === undefined) return hold === undefined ? reload : { mistake: 'hold needs canary' };
  if (canary < 1) return { mistake: 'canary is at least 1' };
  return (hold ?? 0) < 0 ? { mistake: 'hold is at least 0' } : { ...reload, canary: { workers: canary, holdMs: hold ?? null } };
}

function toScaling({ to, by }: Record<string, number>): Command | Mistake {
  if (to !== undefined && to < 1) return { mistake: 'to is at least 1' };
  if (to !== undefined && by === undefined) return { type: 'scale-requested', change: { to } };
  return by !== undefined && to === undefined ? { type: 'scale-requested', change: { by } } : { mistake: '/scale takes either to or by' };
}
