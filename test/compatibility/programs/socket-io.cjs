const http = require('node:http');
const { Server } = require('socket.io');

const server = http.createServer();
const io = new Server(server, { pingInterval: 60_000 });
io.on('connection', (socket) => {
  socket.emit('welcome', { transport: socket.conn.transport.name, address: socket.handshake.address });
  socket.on('echo', (text, acknowledge) => acknowledge(text));
  socket.on('end', () => io.close(() => console.log('closed')));
});
server.listen(0, '127.0.0.1', () => console.log(`listening ${server.address().port}`));
