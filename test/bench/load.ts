/** Load from a generator that others know: wrk, or autocannon where wrk is missing. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Tools } from './tools.ts';

const run = promisify(execFile);

export interface Load {
  readonly port: number;
  readonly connections: number;
  readonly durationMs: number;
  /** A connection for each request. */
  readonly isFresh: boolean;
}

/** Answered per second; latencies in ms. */
export type Answer = { readonly 'requests/s': number; readonly p50: number; readonly p99: number; readonly errors: number };

/** @returns undefined where there is no generator */
export async function generate(tools: Tools, load: Load): Promise<Answer | undefined> {
  if (tools.wrk !== undefined) return runWrk(tools.wrk.path, load);
  return tools.autocannon === undefined ? undefined : runAutocannon(tools.autocannon.path, load);
}

async function runWrk(path: string, { port, connections, durationMs, isFresh }: Load): Promise<Answer> {
  const header = isFresh ? ['--header', 'Connection: close'] : [];
  const seconds = Math.max(1, Math.round(durationMs / 1000));
  const args = ['--threads', '1', '--connections', String(connections), '--duration', `${seconds}s`, '--latency', ...header];
  const { stdout } = await run(path, [...args, `http://127.0.0.1:${port}/`]);
  const [, connect = 0, read = 0, write = 0, timeout = 0] = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(stdout) ?? [];
  const refused = /Non-2xx or 3xx responses: (\d+)/.exec(stdout)?.[1] ?? 0;
  return {
    'requests/s': Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1]),
    p50: milliseconds(/^\s*50%\s+(\S+)$/m.exec(stdout)?.[1]),
    p99: milliseconds(/^\s*99%\s+(\S+)$/m.exec(stdout)?.[1]),
    errors: [connect, read, write, timeout, refused].reduce<number>((sum, count) => sum + Number(count), 0),
  };
}

function milliseconds(text = ''): number {
  const [, number, unit = ''] = /^([\d.]+)(us|ms|s|m)$/.exec(text) ?? [];
  const factors: Record<string, number> = { us: 0.001, ms: 1, s: 1000, m: 60_000 };
  return Number(number) * (factors[unit] ?? Number.NaN);
}

async function runAutocannon(path: string, { port, connections, durationMs, isFresh }: Load): Promise<Answer> {
  const reconnect = isFresh ? ['--reconnectRate', '1'] : [];
  const args = [path, '--json', '--no-progress', '--connections', String(connections), '--duration', String(Math.max(1, Math.round(durationMs / 1000)))];
  const { stdout } = await run(process.execPath, [...args, ...reconnect, `http://127.0.0.1:${port}/`]);
  const { requests, latency, errors, non2xx } = JSON.parse(stdout) as {
    requests: { average: number };
    latency: { p50: number; p99: number };
    errors: number;
    non2xx: number;
  };
  return { 'requests/s': requests.average, p50: latency.p50, p99: latency.p99, errors: errors + non2xx };
}
