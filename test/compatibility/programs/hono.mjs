import { serve } from '@hono/node-server';
import { Hono } from 'hono';
import { stream } from 'hono/streaming';

const app = new Hono();
app.get('/', (context) => context.text('hello'));
app.get('/json', (context) => context.json({ url: new URL(context.req.url).pathname, query: context.req.query() }));
app.post('/echo', async (context) => context.body(await context.req.text()));
app.get('/large', (context) => context.body(new Uint8Array(1_000_000).fill(97)));
app.get('/stream', (context) =>
  stream(context, async (parts) => {
    for (const part of ['one', 'two', 'three']) await parts.write(part);
  }),
);
app.get('/error', () => {
  throw new Error('thrown by a route');
});
app.onError((error, context) => context.text(error.message, 500));
app.get('/close', (context) => {
  setImmediate(() => server.close(() => console.log('closed')));
  return context.text('closing');
});
const server = serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, ({ port }) => console.log(`listening ${port}`));
