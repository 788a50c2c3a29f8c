/** What an operator reads. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { nothing } from '../../../../src/core/account.ts';
import type { Outcome, Report } from '../../../../src/core/effect.ts';
import type { Failure } from '../../../../src/core/event.ts';
import { describeFailure, describeOutcome, describeReport, duration } from '../../../../src/master/log/wording.ts';
import { boom, codeOne, codeZero } from '../../helpers/worker-events.ts';

const pidOf = (worker: number) => (worker === 7 ? 4711 : undefined);
const about = { worker: 7, generation: 3 };

describe('a length of time', () => {
  for (const [ms, words] of [
    [0, '0 ms'],
    [84.6, '85 ms'],
    [1000, '1 s'],
    [1234, '1.2 s'],
    [90_000, '90 s'],
    [180_000, '3 min'],
    [7_500_000, '2 h 5 min'],
    [356_400_000, '4 d 3 h'],
  ] as const) {
    test(words, () => assert.equal(duration(ms), words));
  }
});

describe('a failure says what happened', () => {
  const failures: readonly (readonly [Failure, string])[] = [
    [codeOne, 'exited with code 1'],
    [codeZero, 'exited with code 0 without being asked to'],
    [{ reason: 'exit', code: 1, error: boom }, 'exited with code 1: Error: boom'],
    [{ reason: 'signal', signal: 'SIGSEGV' }, 'was killed by SIGSEGV'],
    [{ reason: 'ready-timeout', timeoutMs: 30_000, listening: false }, 'was not ready within 30 s (--ready-timeout): it does not listen yet'],
    [{ reason: 'ready-timeout', timeoutMs: 500, listening: true }, 'was not ready within 500 ms (--ready-timeout): it listens, but did not call ready()'],
    [
      { reason: 'preflight', timeoutMs: 30_000, request: '/healthz', status: 500, body: 'out of disk' },
      'was not ready within 30 s (--ready-timeout): its page /healthz answered 500 "out of disk"',
    ],
    [{ reason: 'preflight', timeoutMs: 500, request: ':80/', status: 302 }, 'was not ready within 500 ms (--ready-timeout): its page :80/ answered 302'],
    [
      { reason: 'preflight', timeoutMs: 500, request: '/', status: 200, error: 'no answer within 5 s' },
      'was not ready within 500 ms (--ready-timeout): its page / answered 200, failed: no answer within 5 s',
    ],
    [
      { reason: 'preflight', timeoutMs: 500, request: 'preflight(database)', error: 'Error: boom' },
      'was not ready within 500 ms (--ready-timeout): its preflight(database) failed: Error: boom',
    ],
    [{ reason: 'admit-failed', error: { ...boom, code: 'EINVAL' } }, 'could not accept: Error: boom (EINVAL)'],
    [{ reason: 'spawn-failed', error: { ...boom, message: 'spawn x ENOENT\nmore', code: 'ENOENT' } }, 'could not be started: Error: spawn x ENOENT'],
    [{ reason: 'release-rejected', error: { name: 'GracefulError', message: 'no script' } }, 'no script'],
  ];
  for (const [failure, words] of failures) test(words, () => assert.equal(describeFailure(failure), words));
});

describe('the outcome of a reload', () => {
  const common = { generation: 3, requests: [1], durationMs: 1200 };
  const committed: Outcome = { ...common, outcome: 'committed', previous: 2, connections: nothing, open: 0 };
  const failed: Outcome = { ...common, outcome: 'rolled-back', previous: 2, serving: 4, worker: 7, failure: codeOne };
  const outcomes: readonly (readonly [Outcome, string, string])[] = [
    [{ ...committed, previous: 0 }, 'info', 'started: generation 3 serves after 1.2 s'],
    [committed, 'info', 'reloaded: generation 3 serves in place of 2 after 1.2 s'],
    [
      { ...committed, connections: { ...nothing, moved: { http: 3, websocket: 1 } } },
      'info',
      'reloaded: generation 3 serves in place of 2 after 1.2 s; connections moved: 3 http, 1 websocket',
    ],
    [{ ...committed, open: 1 }, 'info', 'reloaded: generation 3 serves in place of 2 after 1.2 s; 1 connection still with generation 2'],
    [
      { ...committed, connections: { moved: { http: 3 }, closed: { tcp: 1 }, cut: {} }, open: 2 },
      'info',
      'reloaded: generation 3 serves in place of 2 after 1.2 s; connections moved: 3 http, ended: 1 tcp; 2 connections still with generation 2',
    ],
    [failed, 'error', 'reload failed, rolled back: worker 7 (pid 4711) exited with code 1; generation 2 goes on (4 workers serving)'],
    [{ ...failed, worker: 8, serving: 1 }, 'error', 'reload failed, rolled back: worker 8 exited with code 1; generation 2 goes on (1 worker serving)'],
    [{ ...failed, previous: 0 }, 'error', 'start failed: worker 7 (pid 4711) exited with code 1'],
    [{ ...failed, failure: { reason: 'stopping' } }, 'warn', 'reload abandoned: the master is stopping'],
  ];
  for (const [outcome, level, text] of outcomes) test(text, () => assert.deepEqual(describeOutcome(outcome, pidOf), { level, text }));

  test('comes with the stack of the error', () => {
    const failure: Failure = { reason: 'exit', code: 1, error: { ...boom, stack: 'Error: boom\n    at app.js:1' } };
    assert.equal(describeOutcome({ ...failed, failure }, pidOf).details, 'Error: boom\n    at app.js:1');
  });
});

describe('a report', () => {
  const drained = { ...about, type: 'worker-drained', afterMs: 90 } as const;
  const reports: readonly (readonly [Report, string, string])[] = [
    [{ ...about, type: 'worker-serving' }, 'info', 'worker 7 (pid 4711, generation 3) serves'],
    [{ ...about, type: 'worker-serving', worker: 8 }, 'info', 'worker 8 (generation 3) serves'],
    [{ ...about, type: 'worker-draining', byItself: true }, 'info', 'worker 7 (pid 4711, generation 3) drains of its own accord'],
    [{ ...about, type: 'worker-stopped', exit: codeZero }, 'info', 'worker 7 (pid 4711, generation 3) has ended'],
    [{ ...about, type: 'worker-stopped', exit: codeOne }, 'warn', 'worker 7 (pid 4711, generation 3) has ended: exited with code 1'],
    [{ ...drained, ...nothing }, 'info', 'worker 7 (pid 4711, generation 3) is drained after 90 ms'],
    [{ ...drained, moved: { http: 0 }, closed: {}, cut: {} }, 'info', 'worker 7 (pid 4711, generation 3) is drained after 90 ms'],
    [
      { ...drained, ...nothing, closed: { http: 2, tcp: 1 } },
      'info',
      'worker 7 (pid 4711, generation 3) is drained after 90 ms; connections ended: 2 http, 1 tcp',
    ],
    [{ ...drained, ...nothing, cut: { http: 1 } }, 'warn', 'worker 7 (pid 4711, generation 3) is drained after 90 ms; connections cut: 1 http'],
    [
      { ...drained, moved: { http: 3 }, closed: { tcp: 1 }, cut: { websocket: 1 } },
      'warn',
      'worker 7 (pid 4711, generation 3) is drained after 90 ms; connections moved: 3 http, ended: 1 tcp, cut: 1 websocket',
    ],
    [{ ...nothing, type: 'generation-gone', generation: 3 }, 'info', 'generation 3 is gone'],
    [
      { type: 'generation-gone', generation: 3, moved: { http: 3, http2: 1 }, closed: { tcp: 1 }, cut: {} },
      'info',
      'generation 3 is gone; connections moved: 3 http, 1 http2, ended: 1 tcp',
    ],
    [
      { type: 'generation-gone', generation: 3, moved: { http: 3 }, closed: {}, cut: { websocket: 1 } },
      'warn',
      'generation 3 is gone; connections moved: 3 http, cut: 1 websocket',
    ],
    [{ type: 'restart-scheduled', generation: 3, missing: 1, delayMs: 200 }, 'warn', 'next start in 200 ms: 1 worker missing'],
    [{ type: 'reload-started', generation: 4, requests: [1, 2], by: ['SIGHUP', 'SIGHUP'] }, 'info', 'reload to generation 4 begins (SIGHUP)'],
    [
      {
        type: 'reload-finished',
        outcome: 'committed',
        generation: 3,
        previous: 2,
        requests: [1],
        durationMs: 90,
        connections: { ...nothing, moved: { http: 1 } },
        open: 1,
      },
      'info',
      'reloaded: generation 3 serves in place of 2 after 90 ms; connections moved: 1 http; 1 connection still with generation 2',
    ],
    [{ type: 'stopping', by: 'SIGTERM', workers: 2 }, 'info', 'stopping (SIGTERM): 2 workers'],
  ];
  for (const [report, level, text] of reports) test(text, () => assert.deepEqual(describeReport(report, pidOf), { level, text }));
});
