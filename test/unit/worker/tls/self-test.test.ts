import assert from 'node:assert/strict';
import { test } from 'node:test';
import tls from 'node:tls';
import { contextOf } from '../../../../src/node/tls.ts';
import { selfTest } from '../../../../src/worker/handoff/tls/self-test.ts';
import { makeCredentials } from '../../helpers/moving-tls.ts';

const credentials = makeCredentials();

test('This Node does what moving TLS rests on', async () => {
  assert.equal(await selfTest(), undefined);
});

for (const [name, options] of Object.entries({
  'its certificate': {},
  'no tickets': { secureOptions: 0x4000 },
  'one suite': { ciphers: 'TLS_CHACHA20_POLY1305_SHA256' },
})) {
  test(`So it does with the context of a server: ${name}`, async () => {
    const context = contextOf(tls.createServer({ ...credentials, ...options }));
    assert.ok(context);
    assert.equal(await selfTest(context), undefined);
  });
}

test('A server that speaks no TLS 1.3 is told apart, with the reason', async () => {
  const context = contextOf(tls.createServer({ ...credentials, maxVersion: 'TLSv1.2' }));
  assert.equal(await selfTest(context), 'it speaks no TLS 1.3');
});

test('A server without certificate fails the test with the reason, and nothing else', async () => {
  assert.equal(await selfTest(contextOf(tls.createServer())), 'no suitable signature algorithm');
});

for (const [by, reason] of [
  [22, /bad record mac/],
  [1, /could not be counted/],
] as const) {
  test(`A Node that counts ${by} bytes more is found out, and the reason told`, async (context) => {
    const { _wrapHandle: wrapHandle } = tls.TLSSocket.prototype as unknown as { _wrapHandle(...args: unknown[]): { readonly bytesWritten: number } };
    context.mock.method(
      tls.TLSSocket.prototype as never,
      '_wrapHandle' as never,
      function (this: unknown, ...args: unknown[]) {
        const wrap = Reflect.apply(wrapHandle, this, args);
        const prototype = Object.getPrototypeOf(wrap) as object;
        const count = () => Reflect.get(prototype, 'bytesWritten', wrap) as number;
        return Object.defineProperty(wrap, 'bytesWritten', { get: () => (count() > 0 ? count() + by : 0) });
      } as never,
    );
    assert.match((await selfTest()) ?? 'nothing is wrong', reason);
  });
}
