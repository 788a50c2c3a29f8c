// An HTTP server that remembers when each connection came and went, by CLOCK_MONOTONIC, which all processes share.
// GET /log answers with what came; what went is written to a file of its generation in the folder BENCH when it ends.
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { generation, onDrain } from 'graceful-super';

const now = () => Number(process.hrtime.bigint()) / 1e6;
const came = [];
const went = [];
let drainedAt = 0;

const server = createServer((request, response) => {
  const text = request.url === '/log' ? JSON.stringify(came) : String(process.pid);
  response.end(text);
});
server.keepAliveTimeout = 3_600_000;
server.on('connection', (socket) => {
  const { remotePort } = socket;
  came.push([remotePort, now()]);
  socket.once('close', () => went.push([remotePort, now()]));
});
onDrain(() => {
  drainedAt = now();
});
process.once('exit', () => {
  if (process.env.BENCH) writeFileSync(join(process.env.BENCH, `${generation}.json`), JSON.stringify({ drainedAt, went }));
});
server.listen(0, '127.0.0.1', 4096, () => process.send?.('listening'));
