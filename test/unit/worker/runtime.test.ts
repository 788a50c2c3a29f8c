/** The runtime of a process, which another version of the package may have made. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findRuntime } from '../../../src/worker/runtime.ts';

const KEY = Symbol.for('graceful-super.runtime');

function publish(runtime: object): Disposable {
  Object.defineProperty(globalThis, KEY, { value: runtime, configurable: true });
  return { [Symbol.dispose]: () => void Reflect.deleteProperty(globalThis, KEY) };
}

test('A newer one will do, an older one is refused with what to do', () => {
  assert.equal(findRuntime(), undefined);
  {
    const newer = { version: 99 };
    using _ = publish(newer);
    assert.equal(findRuntime(), newer as unknown);
  }
  using _ = publish({ version: 0 });
  assert.throws(findRuntime, /needs a runtime of version 1, and its supervisor, or another graceful-super in this process, brings 0: update that one/);
});
