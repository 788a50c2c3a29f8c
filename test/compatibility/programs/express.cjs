const express = require('express');

const app = express();
app.get('/', (_request, response) => response.send('hello'));
app.get('/json', (request, response) => response.json({ ip: request.ip, protocol: request.protocol, hostname: request.hostname, query: request.query }));
app.post('/echo', express.text({ type: '*/*' }), (request, response) => response.send(request.body));
app.get('/large', (_request, response) => response.send(Buffer.alloc(1_000_000, 'large ')));
app.get('/file', (_request, response) => response.sendFile(__filename));
app.get('/stream', async (_request, response) => {
  for (const part of ['one', 'two', 'three']) await new Promise((resolve) => response.write(part, resolve));
  response.end();
});
app.get('/cut', (request, response) => response.write('half', () => request.socket.destroy()));
app.get('/error', () => {
  throw new Error('thrown by a route');
});
app.get('/close', (_request, response) => {
  response.send('closing');
  server.close(() => console.log('closed'));
});
const server = app.listen(0, '127.0.0.1', () => console.log(`listening ${server.address().port}`));
