// Listens in one form after the other, and tells of each what was told of it.
const { mkdtempSync, rmSync } = require('node:fs');
const { once } = require('node:events');
const net = require('node:net');
const { tmpdir } = require('node:os');
const { join } = require('node:path');

const folder = mkdtempSync(join(tmpdir(), 'forms-'));
const path = join(folder, 'web.sock');
const host = '127.0.0.1';
const forms = {
  'a port': [0],
  'a port as text': ['0'],
  nothing: [],
  'a host': [0, host],
  'a host and a backlog': [0, host, 5],
  options: [{ port: 0, host }],
  localhost: [{ port: 0, host: 'localhost' }],
  IPv6: [{ port: 0, host: '::1' }],
  'IPv6 only': [{ port: 0, host: '::', ipv6Only: true }],
  exclusive: [{ port: 0, host, exclusive: true }],
  'a path': [path],
  'a path as option': [{ path, readableAll: true }],
  'an abstract path': [`\0${path}`],
  'no such folder': [join(folder, 'none/web.sock')],
  'no such address': [0, '203.0.113.1'],
  'no such port': [70_000],
  'no such option': [{ port: undefined, host }],
};

async function tryForm(args) {
  const server = net.createServer((socket) => socket.end('hello'));
  const events = [];
  const emit = server.emit;
  server.emit = (event, ...rest) => events.push(String(event)) && emit.call(server, event, ...rest);
  try {
    server.listen(...args);
    await once(server, 'listening');
  } catch ({ code, syscall, message }) {
    return { error: { code, syscall, message }, listening: server.listening, address: server.address(), events };
  }
  const address = server.address();
  const greeting = await greet(address);
  const twice = await new Promise((resolve) => resolve(server.listen(...args))).catch(({ code }) => code);
  const closed = await new Promise((resolve) => server.close(resolve));
  const again = await new Promise((resolve) => server.close(resolve));
  return { address, greeting, twice, closed, again: again?.code, listening: server.listening, after: server.address(), events };
}

/** Closed in the tick in which it listens: it must be gone. */
async function closeAtOnce(port) {
  const events = [];
  const server = net.createServer();
  for (const event of ['listening', 'close', 'error']) server.on(event, () => events.push(event));
  const error = await new Promise((resolve) => server.listen(port).close(resolve));
  return { error: error?.code, events };
}

async function findPort() {
  const server = net.createServer().listen({ port: 0, host, exclusive: true });
  await once(server, 'listening');
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function greet(address) {
  const socket = net.connect(typeof address === 'string' ? { path: address } : { port: address.port, host: address.address });
  let text = '';
  for await (const chunk of socket) text += chunk;
  return text;
}

(async () => {
  for (const [name, args] of Object.entries(forms)) console.log(JSON.stringify([name, await tryForm(args)]));
  console.log(JSON.stringify(['closed at once', await closeAtOnce(await findPort())]));
  rmSync(folder, { recursive: true });
})();
