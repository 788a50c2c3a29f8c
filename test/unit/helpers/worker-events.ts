/** One event of every kind that can happen to a worker. */
import type { ErrorReport, Exit, HealthFailure, WorkerEvent } from '../../../src/core/event.ts';

export type WorkerStepEvent = WorkerEvent | { readonly type: 'tick'; readonly now: number };

export const boom: ErrorReport = { name: 'Error', message: 'boom' };
export const codeOne: Exit = { reason: 'exit', code: 1 };
export const codeZero: Exit = { reason: 'exit', code: 0 };

export const unhealthy: HealthFailure = { request: '/healthz', status: 500, body: 'out of disk' };

/** Every event about a worker at that time, and a tick. */
export function everyEvent(worker: number, now: number): readonly WorkerStepEvent[] {
  return [
    { type: 'worker-listening', worker, now, isListening: true },
    { type: 'worker-addresses', worker, now, addresses: ['127.0.0.1:80'] },
    { type: 'worker-asked', worker, now },
    { type: 'worker-answered', worker, now },
    { type: 'worker-ready', worker, now },
    { type: 'worker-preflight-failed', worker, now, failure: unhealthy },
    { type: 'worker-admitted', worker, now },
    { type: 'worker-admit-failed', worker, now, error: boom },
    { type: 'worker-checked', worker, now, failure: unhealthy },
    { type: 'worker-measured', worker, now, rssBytes: 2000 },
    { type: 'worker-blocked', worker, now, timeoutMs: 100 },
    { type: 'worker-withdrew', worker, now },
    { type: 'worker-disconnected', worker, now },
    { type: 'worker-supplanted', worker, now },
    { type: 'worker-settled', worker, now, moved: { http: 2 }, open: 1 },
    { type: 'worker-drained', worker, now, moved: { http: 2, tcp: 1 }, closed: {}, cut: {} },
    { type: 'worker-exited', worker, now, exit: codeOne, chance: 0.5, moved: { http: 3 } },
    { type: 'tick', now },
  ];
}
