// Binds datagram sockets in one form after the other, and tells of each what was told of it.
const { AsyncLocalStorage } = require('node:async_hooks');
const dgram = require('node:dgram');
const { once } = require('node:events');

const host = '127.0.0.1';
const group = '239.77.1.2';
const storage = new AsyncLocalStorage();

/** A socket that keeps account of what it is told. */
function open(options, events) {
  const socket = dgram.createSocket(typeof options === 'string' ? { type: options } : options);
  for (const event of ['listening', 'connect', 'close']) socket.on(event, () => events.push(event));
  socket.on('error', (error) => events.push(describe(error)));
  socket.on('message', (message, from) => events.push(`${message} ${from.address} ${from.family} ${storage.getStore()}`));
  return socket;
}

function describe({ code, syscall, message, address, port, errno }) {
  return { code, syscall, message, address, port, errno };
}

/** What a call gives. */
function attempt(call) {
  try {
    return call() === undefined ? 'done' : 'a value';
  } catch (error) {
    return describe(error);
  }
}

async function settled(socket) {
  await Promise.race(['listening', 'error', 'close'].map((event) => once(socket, event).catch(() => {})));
}

async function closed(socket) {
  const told = once(socket, 'close');
  socket.close();
  await told;
}

/** A number that nobody has. */
async function findPort() {
  for (;;) {
    const port = 30_000 + Math.floor(Math.random() * 2_000);
    const socket = dgram.createSocket('udp6');
    const isFree = await new Promise((resolve) => socket.once('error', () => resolve(false)).bind({ port, exclusive: true }, () => resolve(true)));
    await new Promise((resolve) => socket.close(resolve));
    if (isFree) return port;
  }
}

const forms = {
  'a port': ['udp4', (port) => [port]],
  'a port and a host': ['udp4', (port) => [port, host]],
  'a port as text': ['udp4', (port) => [String(port), host]],
  options: ['udp4', (port) => [{ port, address: host }]],
  'a name': ['udp4', (port) => [port, 'localhost']],
  'any port': ['udp4', () => [0, host]],
  nothing: ['udp4', () => []],
  exclusive: ['udp4', (port) => [{ port, address: host, exclusive: true }]],
  'both families': ['udp6', (port) => [port]],
  IPv6: ['udp6', (port) => [port, '::1']],
  'IPv6 only': [{ type: 'udp6', ipv6Only: true }, (port) => [port]],
  shared: [{ type: 'udp4', reuseAddr: true }, (port) => [port, host]],
  'its own lookup': [{ type: 'udp4', lookup: (_name, _options, callback) => process.nextTick(callback, null, host, 4) }, (port) => [port, 'anywhere']],
  'buffers of a size': [{ type: 'udp4', recvBufferSize: 8192, sendBufferSize: 8192 }, (port) => [port, host]],
  'no such name': ['udp4', (port) => [port, 'no-such-host.invalid']],
  'no such address': ['udp4', (port) => [port, '203.0.113.1']],
  'an address of the other family': ['udp4', (port) => [port, '::1']],
  'IPv6 only for IPv4': [{ type: 'udp4', ipv6Only: true }, (port) => [port, host]],
};

async function tryForm([options, argumentsFor], port) {
  const events = [];
  const socket = storage.run('of the socket', () => open(options, events));
  const args = argumentsFor(port);
  storage.run('of the socket', () => socket.bind(...args, () => events.push(`bound ${storage.getStore()}`)));
  const twice = attempt(() => socket.bind(...args));
  await settled(socket);
  const address = events.includes('listening') ? socket.address() : null;
  if (address) await greet(socket, address);
  const sizes = address && [socket.getRecvBufferSize(), socket.getSendBufferSize()];
  await closed(socket);
  return { twice, address, sizes, events, after: attempt(() => socket.address()) };
}

async function greet(socket, { address, port, family }) {
  const sender = dgram.createSocket(family === 'IPv6' ? 'udp6' : 'udp4');
  const to = { '0.0.0.0': host, '::': '::1' }[address] ?? address;
  const come = once(socket, 'message');
  storage.exit(() => sender.send('hello', port, to));
  await come;
  sender.close();
}

const cases = {
  async 'a port that somebody has, and another try'(port) {
    const events = [];
    const [first, second] = [open('udp4', events), open('udp4', events)];
    first.bind({ port, address: host });
    await settled(first);
    second.bind(port, host);
    await settled(second);
    await closed(first);
    second.bind(port, host);
    await settled(second);
    await greet(second, second.address());
    await closed(second);
    return events;
  },
  async 'an overlapping address'(port) {
    const events = [];
    const [first, second] = [open('udp4', events), open('udp4', events)];
    await settled(first.bind(port, host));
    await settled(second.bind(port));
    await Promise.all([closed(first), closed(second)]);
    return events;
  },
  async 'one address for two'(port) {
    const events = [];
    const [first, second] = [1, 2].map(() => open({ type: 'udp4', reuseAddr: true }, events));
    await settled(first.bind(port, host));
    await settled(second.bind(port, host));
    await Promise.all([closed(first), closed(second)]);
    return events;
  },
  async 'closed before it is bound'(port) {
    const events = [];
    const socket = open('udp4', events).bind(port, host);
    await closed(socket);
    const next = open('udp4', events).bind(port, host);
    await settled(next);
    await closed(next);
    return events;
  },
  async 'aborted before it is bound'(port) {
    const events = [];
    const abort = new AbortController();
    const socket = open({ type: 'udp4', signal: abort.signal }, events).bind(port, host);
    const told = once(socket, 'close');
    abort.abort();
    await told;
    return events;
  },
  async 'sent before it is bound'(port) {
    const events = [];
    const socket = open('udp4', events);
    const come = once(socket, 'message');
    socket.bind(port, host);
    socket.send('to myself', port, host);
    await come;
    await closed(socket);
    return events;
  },
  async 'a peer'(port) {
    const events = [];
    const [socket, peer] = [open('udp4', events), open('udp4', [])];
    await settled(peer.bind(0, host));
    await settled(socket.bind(port, host));
    socket.connect(peer.address().port, host);
    await once(socket, 'connect');
    const isPeer = socket.remoteAddress().port === peer.address().port;
    const come = once(peer, 'message');
    socket.send('hello');
    await come;
    const again = attempt(() => socket.connect(port, host));
    socket.disconnect();
    const none = attempt(() => socket.remoteAddress());
    await Promise.all([closed(socket), closed(peer)]);
    return { events, isPeer, again, none };
  },
  async 'a peer over IPv6'(port) {
    const events = [];
    const [socket, peer] = [open('udp6', events), open('udp6', [])];
    await settled(peer.bind(0, '::1'));
    await settled(socket.bind(port, '::1'));
    socket.connect(peer.address().port, '::1');
    await once(socket, 'connect');
    await Promise.all([closed(socket), closed(peer)]);
    return events;
  },
  async 'multicast groups'(port) {
    const events = [];
    const socket = open({ type: 'udp4', reuseAddr: true }, events);
    await settled(socket.bind(port));
    const results = [
      () => socket.addMembership(group, host),
      () => socket.addMembership(group, host),
      () => socket.dropMembership(group, host),
      () => socket.dropMembership(group, host),
      () => socket.addMembership(host),
      () => socket.addMembership('no address'),
      () => socket.addMembership(group, '203.0.113.1'),
      () => socket.dropMembership('no address'),
      () => socket.addSourceSpecificMembership(host, '232.77.1.2', host),
      () => socket.addSourceSpecificMembership(host, '232.77.1.2', host),
      () => socket.dropSourceSpecificMembership(host, '232.77.1.2', host),
      () => socket.dropSourceSpecificMembership(host, '232.77.1.2', host),
      () => socket.setMulticastInterface(host),
      () => socket.setMulticastTTL(2),
      () => socket.setMulticastLoopback(true),
      () => socket.setBroadcast(true),
      () => socket.setTTL(0),
    ].map(attempt);
    socket.addMembership(group, host);
    const come = once(socket, 'message');
    socket.send('to all', port, group);
    await come;
    await closed(socket);
    return { results, events };
  },
  async unreferenced(port) {
    const events = [];
    const socket = open('udp4', events).unref().bind(port, host);
    await settled(socket);
    return events; // and the program ends nevertheless
  },
};

(async () => {
  for (const [name, form] of Object.entries(forms)) await tell(name, (port) => tryForm(form, port));
  for (const [name, run] of Object.entries(cases)) await tell(name, run);
})();

async function tell(name, run) {
  const port = await findPort();
  console.log(JSON.stringify([name, await run(port)]).replaceAll(String(port), 'PORT'));
}
