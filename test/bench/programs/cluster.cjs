// Node's own cluster with a rolling reload on SIGHUP as its documentation suggests: new workers first, then disconnect().
const cluster = require('node:cluster');
const { join } = require('node:path');

cluster.setupPrimary({ exec: join(__dirname, 'server.cjs') });
const count = Number(process.env.WORKERS);
const fork = () => Promise.all(Array.from({ length: count }, () => new Promise((resolve) => cluster.fork().once('listening', resolve))));

process.on('SIGHUP', async () => {
  const old = Object.values(cluster.workers);
  await fork();
  for (const worker of old) worker.disconnect();
});
process.on('SIGTERM', () => {
  for (const worker of Object.values(cluster.workers)) worker.process.kill('SIGKILL');
  process.exit(0);
});
fork();
