const http = require('node:http');
const { WebSocketServer } = require('ws');

const server = http.createServer((_request, response) => response.writeHead(426).end('WebSockets only'));
const sockets = new WebSocketServer({ server, path: '/socket', perMessageDeflate: { threshold: 0 } });
sockets.on('connection', (socket, request) => {
  socket.send(`welcome to ${request.url}, ${sockets.clients.size} here`);
  socket.on('message', (message, isBinary) => socket.send(message, { binary: isBinary }));
  socket.on('message', (message) => {
    if (String(message) !== 'end') return;
    sockets.close();
    for (const client of sockets.clients) client.close(4000, 'as asked');
    server.close(() => console.log('closed'));
  });
});
server.listen(0, '127.0.0.1', () => console.log(`listening ${server.address().port}`));
