import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Subscribers } from '../../../../src/master/control/subscribers.ts';
import type { ControlLine } from '../../../../src/protocol/control.ts';

test('Who waited for a stop and has left is forgotten, and told nothing', () => {
  const subscribers = new Subscribers();
  const heard: ControlLine[] = [];
  const leave = subscribers.awaitStop((line) => heard.push(line));
  subscribers.awaitStop((line) => heard.push(line));
  leave();
  subscribers.tellStopped(0);
  assert.deepEqual(heard, [{ type: 'stopped', exitCode: 0 }]);
});
