import { Readable } from 'node:stream';
import Fastify from 'fastify';

const app = Fastify();
app.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => done(null, body));
app.get('/', async () => 'hello');
app.get('/json', async ({ ip, protocol, hostname, query }) => ({ ip, protocol, hostname, query, addresses: app.addresses().length }));
app.post('/echo', async ({ body }) => body);
app.get('/large', async () => Buffer.alloc(1_000_000, 'large '));
app.get('/stream', async (_request, reply) => reply.send(Readable.from(['one', 'two', 'three'])));
app.get('/cut', (request, reply) => reply.hijack() && reply.raw.write('half', () => request.socket.destroy()));
app.get('/error', async () => {
  throw new Error('thrown by a route');
});
app.get('/close', async () => {
  setImmediate(() => app.close().then(() => console.log('closed')));
  return 'closing';
});
await app.listen({ port: 0, host: '127.0.0.1' });
console.log(`listening ${app.server.address().port}`);
