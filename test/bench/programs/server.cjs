// The program that every supervisor of Node programs runs: answers with its pid, and stops as most programs do.
const { createServer } = require('node:http');

const server = createServer((request, response) => {
  if (request.method === 'GET') return response.end(String(process.pid));
  request.on('data', () => {}).once('end', () => response.end(String(process.pid)));
});
const stop = () => server.close(() => process.exit(0));
process.on('SIGTERM', stop).on('SIGINT', stop);
process.on('message', (message) => message === 'shutdown' && stop()); // how PM2 may ask

const inherited = process.env.SERVER_STARTER_PORT?.split('=').at(-1);
server.listen(inherited === undefined ? { port: Number(process.env.PORT), host: '127.0.0.1', backlog: 4096 } : { fd: Number(inherited) });
