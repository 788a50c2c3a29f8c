const restify = require('restify');

const server = restify.createServer({ name: 'example' });
server.get('/', (_request, response, next) => {
  response.send('hello');
  next();
});
server.get('/json', (request, response, next) => {
  response.send({ path: request.getPath(), query: request.getQuery() });
  next();
});
server.post('/echo', (request, response, next) => {
  request.pipe(response);
  next(false);
});
server.get('/error', (_request, _response, next) => next(new Error('passed on by a route')));
server.get('/close', (_request, response, next) => {
  response.send('closing');
  server.close(() => console.log('closed'));
  next();
});
server.listen(0, '127.0.0.1', () => console.log(`listening ${server.address().port}`));
