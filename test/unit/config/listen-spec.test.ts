/** The grammar of --listen, by table. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type ListenSpec, parseListenSpec } from '../../../src/config/listen-spec.ts';

function tcp(host: string | null, port: number, name: string | null = null): ListenSpec {
  return { kind: 'tcp', name, host, port };
}

function unix(path: string, mode: number | null = null, name: string | null = null): ListenSpec {
  return { kind: 'unix', name, path, mode };
}

describe('an address', () => {
  const good: readonly (readonly [string, ListenSpec])[] = [
    ['8080', tcp(null, 8080)],
    [':8080', tcp(null, 8080)],
    ['*:8080', tcp(null, 8080)],
    ['0', tcp(null, 0)],
    ['65535', tcp(null, 65535)],
    ['0.0.0.0:80', tcp('0.0.0.0', 80)],
    ['127.0.0.1:80', tcp('127.0.0.1', 80)],
    ['localhost:80', tcp('localhost', 80)],
    ['my-host.example:80', tcp('my-host.example', 80)],
    ['[::1]:80', tcp('::1', 80)],
    ['[::]:80', tcp('::', 80)],
    ['8080,name=web', tcp(null, 8080, 'web')],
    ['name=web,8080', tcp(null, 8080, 'web')],
    ['[::1]:80,name=my.api-2', tcp('::1', 80, 'my.api-2')],
    ['udp:53', { kind: 'udp', name: null, host: null, port: 53 }],
    ['udp:*:53', { kind: 'udp', name: null, host: null, port: 53 }],
    ['udp:127.0.0.1:0,name=dns', { kind: 'udp', name: 'dns', host: '127.0.0.1', port: 0 }],
    ['udp:[::]:5353', { kind: 'udp', name: null, host: '::', port: 5353 }],
    ['unix:/run/app.sock', unix('/run/app.sock')],
    ['unix:/run/with space:and.colon', unix('/run/with space:and.colon')],
    ['unix:/run/app.sock,mode=660', unix('/run/app.sock', 0o660)],
    ['unix:/run/app.sock,mode=0600,name=web', unix('/run/app.sock', 0o600, 'web')],
  ];
  for (const [text, spec] of good) test(text, () => assert.deepEqual(parseListenSpec(text), spec));
});

describe('no address', () => {
  const addresses = ['', ' ', 'http', '65536', '123456', '-1', '8080 ', '1.5', '8080,9090', '8080,', ',8080', 'localhost', 'localhost:', 'local host:80'];
  const hosts = ['::1', '::1:80', '[]:80', '[127.0.0.1]:80', '[::1]', '[zz]:80', 'a/b:80'];
  const paths = ['unix:', 'unix:run/app.sock', 'unix:/', '/run/app.sock', 'unix://'].filter((path) => path !== 'unix://');
  const extras = ['8080,name=', '8080,name=a b', '8080,mode=660', 'unix:/a,mode=9', 'unix:/a,mode=888', 'unix:/a,mode=17777', 'unix:/a,color=red', 'name=web'];
  const datagrams = ['udp:', 'udp:x', 'udp:::1:53', 'udp:53,mode=660', 'udp:udp:udp:53', 'udp:/run/a'];
  for (const text of [...addresses, ...hosts, ...paths, ...extras, ...datagrams]) test(`"${text}"`, () => assert.equal(parseListenSpec(text), undefined));
});

test('whatever is written, it is an address or it is none', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      const spec = parseListenSpec(text);
      assert.ok(spec === undefined || spec.kind === 'unix' || (spec.port >= 0 && spec.port <= 65535));
    }),
  );
});
