// Opens connections, has one request answered on each, and keeps them. Arguments: port, how many.
import { connect } from 'node:net';

const [port, count] = process.argv.slice(2).map(Number);
const BATCH = 100;

function open() {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1' });
    socket.once('error', reject).once('data', resolve);
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    socket.on('end', () => socket.destroy());
  });
}

for (let held = 0; held < count; held += BATCH) await Promise.all(Array.from({ length: Math.min(BATCH, count - held) }, open));
process.send('held');
process.once('disconnect', () => process.exit());
