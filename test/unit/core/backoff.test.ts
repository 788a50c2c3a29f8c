/** When the next worker may be started after crashes, and when it is a crash loop. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { afterCrash, type Backoff, delayMs, isOver, noCrashes, quietAt } from '../../../src/core/backoff.ts';
import { policyWith } from '../helpers/policy.ts';

const policy = policyWith();
/** The largest jitter there is: [0, 1). */
const MOST = 1 - Number.EPSILON;

/** So many crashes, so far apart. */
function crashes(count: number, everyMs: number, used = policy, from: Backoff = noCrashes): Backoff {
  return Array.from({ length: count }, (_, index) => index * everyMs).reduce((backoff, now) => afterCrash(backoff, now, MOST, used), from);
}

describe('the delay', () => {
  for (const [round, expected] of [0, 0, 100, 200, 400, 800, 1600, 1600, 1600].entries()) {
    test(`round ${round}: ${expected} ms at most`, () => assert.equal(delayMs(round, MOST, policy), expected));
  }

  test('stays the longest, however many rounds there are', () => {
    for (const round of [31, 32, 33, 1000, 1e9]) assert.equal(delayMs(round, MOST, policy), 1600);
  });

  test('the longest holds even where the shortest is longer', () => assert.equal(delayMs(2, MOST, policyWith({ backoffMinMs: 5000 })), 1600));

  test('is spread between half and the whole of it', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 50 }), fc.double({ min: 0, max: MOST, noNaN: true }), (round, chance) => {
        const whole = delayMs(round, MOST, policy);
        const delay = delayMs(round, chance, policy);
        assert.ok(delay >= whole / 2 && delay <= whole, `${delay} of ${whole}`);
      }),
    );
    assert.equal(delayMs(3, 0, policy), 100);
    assert.equal(delayMs(3, 0.5, policy), 150);
  });
});

describe('after a crash', () => {
  test('the first costs no delay, the second the shortest', () => {
    const once = afterCrash(noCrashes, 1000, MOST, policy);
    assert.equal(once.nextStartAt, 1000);
    assert.equal(afterCrash(once, 1010, MOST, policy).nextStartAt, 1110);
  });

  test('the first of each worker place costs no delay', () => {
    const four = policyWith({ workers: 4 });
    assert.equal(crashes(4, 1, four).nextStartAt, 3);
    assert.equal(crashes(5, 1, four).nextStartAt, 104);
  });

  test('a crash never brings the next start nearer', () => {
    const waiting: Backoff = { ...noCrashes, lastCrashAt: 900, streak: 1, nextStartAt: 5000 };
    assert.equal(afterCrash(waiting, 1000, MOST, policy).nextStartAt, 5000);
  });

  test('a quiet window ends the streak', () => {
    const quick = policyWith({ restartWindowMs: 1000 });
    const backoff = afterCrash({ streak: 9, lastCrashAt: 400, nextStartAt: 500, isLooping: true, loopingSince: 450 }, 1500, MOST, quick);
    assert.deepEqual(backoff, { streak: 1, lastCrashAt: 1500, nextStartAt: 1500, isLooping: false, loopingSince: null });
  });

  test('waiting for a restart is no quiet time: the longest delay is reached and kept', () => {
    const slow = policyWith({ restartLimit: 5, backoffMinMs: 100, backoffMaxMs: 30_000, restartWindowMs: 60_000 });
    let backoff = noCrashes;
    const delays: number[] = [];
    for (let crash = 0; crash < 15; crash++) {
      const now = backoff.nextStartAt + 100;
      backoff = afterCrash(backoff, now, MOST, slow);
      delays.push(backoff.nextStartAt - now);
    }
    assert.deepEqual(delays, [0, 100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000, 30_000, 30_000, 30_000]);
    assert.equal(backoff.isLooping, true);
  });
});

describe('a crash loop', () => {
  for (const [workers, restartLimit] of [
    [1, 3],
    [4, 3],
    [2, 1],
  ] as const) {
    test(`with ${workers} workers is more than ${restartLimit * workers} crashes in a streak`, () => {
      const used = policyWith({ workers, restartLimit });
      assert.equal(crashes(restartLimit * workers, 1, used).isLooping, false);
      assert.equal(crashes(restartLimit * workers + 1, 1, used).isLooping, true);
    });
  }

  test('is over when the crashes are rare again', () => {
    const used = policyWith({ restartLimit: 2 });
    const looping = crashes(10, 1, used);
    assert.equal(afterCrash(looping, 70_000, MOST, used).isLooping, false);
  });
});

describe('since when it loops', () => {
  const used = policyWith({ restartLimit: 2, restartWindowMs: 1000, backoffMaxMs: 100 });
  const at = (count: number) => crashes(count, 10, used);

  test('is when it began, not when it crashed last', () => {
    assert.deepEqual([at(2).loopingSince, at(3).loopingSince, at(5).loopingSince], [null, 20, 20]);
  });

  test('begins anew after a quiet window', () => {
    const { loopingSince } = crashes(3, 10, used, afterCrash(at(5), 5000, MOST, used));
    assert.notEqual(loopingSince, 20);
    assert.equal(afterCrash(at(5), 5000, MOST, used).loopingSince, null);
  });

  test('it is over a window after the last crash, or after the start that it is waiting for', () => {
    const looping = at(5);
    assert.equal(quietAt(looping, used), looping.nextStartAt + 1000);
    assert.deepEqual([isOver(looping, looping.nextStartAt + 999, used), isOver(looping, looping.nextStartAt + 1000, used)], [false, true]);
    assert.equal(quietAt({ ...looping, lastCrashAt: 9000 }, used), 10_000);
  });
});

test('the delay does not grow for ever', () => {
  const backoff = crashes(10_000, 1, policyWith({ restartLimit: 5 }));
  assert.equal(backoff.streak, 10_000);
  assert.ok(backoff.nextStartAt <= 10_000 + 1600);
});
