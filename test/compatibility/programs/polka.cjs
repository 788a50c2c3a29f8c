const polka = require('polka');

const app = polka();
app.get('/', (_request, response) => response.end('hello'));
app.get('/json', (request, response) => response.end(JSON.stringify({ path: request.path, query: request.query })));
app.post('/echo', (request, response) => request.pipe(response));
app.get('/large', (_request, response) => response.end(Buffer.alloc(1_000_000, 'large ')));
app.get('/close', (_request, response) => {
  response.end('closing');
  app.server.close(() => console.log('closed'));
});
app.listen(0, '127.0.0.1', () => console.log(`listening ${app.server.address().port}`));
