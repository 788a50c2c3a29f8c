// Echo: writes back what it reads. The service that graceful-super was conceived for.
//
//   graceful-super start ./docs/examples/echo-worker.js        or plainly: node docs/examples/echo-worker.js
//   nc 127.0.0.1 48879
//
// ECHO_HOST and ECHO_PORT override the address. At a reload its clients stay connected: they go on in the new worker. At a
// stop it finishes writing what it has read, then disconnects; the process ends after every connection has.
import net from 'node:net';
import { generation, handoff, isAdopted, isHandedOff, onDrain } from 'graceful-super';

const host = process.env.ECHO_HOST ?? '127.0.0.1';
const port = Number(process.env.ECHO_PORT ?? 0xbeef);
const sockets = new Set();
const log = (...words) => console.log(`[echo ${process.pid}, generation ${generation}]`, ...words);

const server = net.createServer({ allowHalfOpen: true }, (socket) => {
  const address = `${socket.remoteAddress}:${socket.remotePort}`;
  log(address, isAdopted(socket) ? 'goes on here' : 'connected');
  sockets.add(socket);
  socket.pipe(socket); // back-pressure included; a client's FIN ends our side once everything is written
  socket.on('error', (error) => log(address, error.code));
  socket.on('close', () => {
    log(isHandedOff(socket) ? 'handing over' : 'disconnecting', address);
    sockets.delete(socket);
  });
});

handoff(server);
server.listen(port, host, () => {
  const { address, port: bound } = server.address();
  log('listening on', `${address}:${bound}`);
});

onDrain(({ reason }) => {
  if (reason === 'reload') return;
  for (const socket of sockets) {
    socket.unpipe();
    // what was read and waits for a client that does not read is still written
    for (let part = socket.read(); part !== null; part = socket.read()) socket.write(part);
    socket.end();
    socket.resume(); // what still comes is discarded until the client closes too
  }
});
