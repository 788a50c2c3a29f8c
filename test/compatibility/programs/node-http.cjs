// node:http alone: keep-alive, upgrades, trailers, informational responses.
const http = require('node:http');

const server = http.createServer((request, response) => {
  const { method, url } = request;
  const [path] = url.split('?');
  if (path === '/') return response.end('hello\n');
  if (path === '/json') return response.setHeader('Content-Type', 'application/json').end(JSON.stringify({ method, url, headers: request.rawHeaders }));
  if (path === '/echo') return request.on('end', () => response.addTrailers({ 'X-Trailer': request.trailers['x-sum'] ?? 'none' })) && request.pipe(response);
  if (path === '/large') return response.end(Buffer.alloc(1_000_000, 'large '));
  if (path === '/early') return response.writeEarlyHints({ link: '</style.css>; rel=preload' }, () => response.end('late'));
  if (path === '/cut') return response.write('half') && setImmediate(() => response.destroy());
  if (path === '/stream') return stream(response);
  if (path === '/close') return response.end('closing') && server.close(() => console.log('closed'));
  response.writeHead(404, 'Nothing Here').end();
});

function stream(response, left = 3) {
  response.write(`part ${left}\n`);
  if (left === 1) response.end();
  else setImmediate(stream, response, left - 1);
}

server.on('upgrade', (request, socket, head) => {
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${request.headers.upgrade}\r\n\r\n${head}`);
  socket.pipe(socket);
});
server.on('clientError', (error, socket) => socket.end(`HTTP/1.1 400 Bad Request\r\nX-Code: ${error.code}\r\n\r\n`));
server.listen(0, '127.0.0.1', () => console.log(`listening ${server.address().port}`));
