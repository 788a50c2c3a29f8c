// Tells what it finds itself to be, right after a listen and once it listens.
const cluster = require('node:cluster');
const http = require('node:http');
const { basename } = require('node:path');

const server = http.createServer();
server.listen(0, () => {
  const { address, family } = server.address();
  const facts = {
    argv: [basename(process.argv[1]), ...process.argv.slice(2)],
    execArgv: process.execArgv,
    cwd: basename(process.cwd()),
    env: Object.keys(process.env)
      .filter((name) => /^NODE|GRACEFUL|CLUSTER/.test(name))
      .sort(),
    'require.main': require.main === module,
    'require.cache': Object.keys(require.cache).length,
    'module.paths': module.paths.length,
    globals: Object.getOwnPropertyNames(globalThis).length,
    'events of process': process.eventNames().map(String).sort(),
    stdin: process.stdin.constructor.name,
    'process.send': typeof process.send,
    'process.connected': process.connected,
    'process.channel': typeof process.channel,
    'cluster.isPrimary': cluster.isPrimary,
    'cluster.isWorker': cluster.isWorker,
    'cluster.worker': typeof cluster.worker,
    stack: new Error('here').stack.split('\n').length,
    'right after listen': rightAfter,
    server: { listening: server.listening, address, family, events: server.eventNames().map(String).sort(), keys: Object.keys(server).sort() },
  };
  server.getConnections((error, count) => {
    console.log(JSON.stringify({ ...facts, getConnections: [error, count] }));
    server.close();
  });
});
const rightAfter = { listening: server.listening, address: server.address() !== null };
