/**
 * The inspector that Node was asked for by `--inspect` and its kin. Two processes can't share its port: a worker that drains gives it up, and one that could not have
 * it looks once a second whether it is free. Nothing of this is loaded in a program that is not debugged.
 */
import type Inspector from 'node:inspector';
import type Net from 'node:net';
import type { Drain } from './drain.ts';

const LOOK_MS = 1000;

/** Passes the inspector on from one worker to the next. */
export function shareInspector(drain: Pick<Drain, 'addHook' | 'hasBegun'>): void {
  const options = [...process.execArgv, ...(process.env['NODE_OPTIONS'] ?? '').split(/\s+/)];
  const asked = options.find((option) => /^--inspect(-brk|-wait)?(=|$)/.test(option));
  if (asked === undefined) return;
  const inspector = require('node:inspector') as typeof Inspector;
  const host = /=\[?([^\]]+)\]?:\d+$/.exec(asked)?.[1] ?? '127.0.0.1';
  drain.addHook(() => inspector.url() !== undefined && inspector.close());
  if (inspector.url() === undefined) openWhenFree(inspector, host, drain);
}

function openWhenFree(inspector: typeof Inspector, host: string, drain: Pick<Drain, 'hasBegun'>): void {
  const { connect } = require('node:net') as typeof Net;
  const timer = setInterval(() => {
    if (drain.hasBegun || inspector.url() !== undefined) return clearInterval(timer);
    const probe = connect(process.debugPort, host, () => probe.destroy()).unref(); // to open it where it is taken would say so each time
    probe.on('error', () => drain.hasBegun || inspector.url() !== undefined || inspector.open(process.debugPort, host));
  }, LOOK_MS).unref();
}
