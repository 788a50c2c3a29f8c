// Looks for free ports as tools do, by listening there and closing, and listens on the one that it wanted.
import { createServer } from 'node:http';
import { detect } from 'detect-port';
import getPort from 'get-port';
import portfinder from 'portfinder';

const wanted = 20_000 + (process.pid % 10_000);
console.log(`get-port: ${(await getPort({ port: wanted })) === wanted}`);
console.log(`detect-port: ${(await detect(wanted)) === wanted}`);
console.log(`portfinder: ${(await portfinder.getPortPromise({ port: wanted, host: '127.0.0.1' })) === wanted}`);
const server = createServer((request, response) => {
  response.end(`${server.address().port === wanted}`);
  if (request.url === '/close') server.close(() => console.log('closed'));
});
server.listen(wanted, '127.0.0.1', () => console.log(`listening ${server.address().port}`));
