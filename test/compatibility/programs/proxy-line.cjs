// Behind a proxy that says in a first line who its client is.
const http = require('node:http');
const { proxy } = require('findhit-proxywrap');

const server = proxy(http, { strict: true }).createServer((request, response) => {
  const { remoteAddress, remotePort } = request.socket;
  response.end(`${request.method} ${request.url} of ${remoteAddress}:${remotePort}`);
  if (request.url === '/close') server.close(() => console.log('closed'));
});
server.listen(0, '127.0.0.1', () => console.log(`listening ${server.address().port}`));
