const { Readable } = require('node:stream');
const Koa = require('koa');

const app = new Koa();
app.silent = true;
app.use(async (context) => {
  const { path, request } = context;
  if (path === '/') context.body = 'hello';
  else if (path === '/json') context.body = { ip: request.ip, protocol: request.protocol, host: request.host, query: request.query };
  else if (path === '/echo') context.body = context.req;
  else if (path === '/large') context.body = Buffer.alloc(1_000_000, 'large ');
  else if (path === '/stream') context.body = Readable.from(['one', 'two', 'three']);
  else if (path === '/cut') context.res.write('half', () => context.req.socket.destroy());
  else if (path === '/error') throw new Error('thrown by a route');
  else if (path === '/close') {
    context.body = 'closing';
    server.close(() => console.log('closed'));
  }
  if (path === '/cut') context.respond = false;
});
const server = app.listen({ port: 0, host: '127.0.0.1' }, () => console.log(`listening ${server.address().port}`));
