const { Readable } = require('node:stream');
const Hapi = require('@hapi/hapi');

const server = Hapi.server({ port: 0, host: '127.0.0.1' });
server.route([
  { method: 'GET', path: '/', handler: () => 'hello' },
  { method: 'GET', path: '/json', handler: ({ info, query }) => ({ address: info.remoteAddress, hostname: info.hostname, query }) },
  { method: 'POST', path: '/echo', handler: ({ payload }) => payload, options: { payload: { parse: false } } },
  { method: 'GET', path: '/large', handler: () => Buffer.alloc(1_000_000, 'large ') },
  { method: 'GET', path: '/stream', handler: () => Readable.from(['one', 'two', 'three'], { objectMode: false }) },
  {
    method: 'GET',
    path: '/error',
    handler: () => {
      throw new Error('thrown by a route');
    },
  },
  { method: 'GET', path: '/close', handler: () => void setImmediate(() => server.stop().then(() => console.log('closed'))) ?? 'closing' },
]);
server.start().then(() => console.log(`listening ${server.info.port}`));
