// Tells what it finds of Node: before it has done anything, then with the modules that servers are made of, then with a server that listens.
const loaded = [...process.moduleLoadList];
const hooks = require('node:async_hooks');
const seen = { before: new Set(), unmatched: 0 };
const hook = hooks.createHook({
  before: (id) => seen.before.add(id),
  after: (id) => {
    if (!seen.before.delete(id)) seen.unmatched++;
  },
});
hook.enable();
const ids = [hooks.executionAsyncId(), hooks.triggerAsyncId()];
const { createHash } = require('node:crypto');

const first = {
  loaded,
  ids,
  module: [module.parent === null || module.parent === undefined, require.main === module, Object.keys(require.cache).length, module.children.length],
  resources: process.getActiveResourcesInfo().sort(),
  handles: process._getActiveHandles().map((handle) => handle.constructor.name),
  requests: process._getActiveRequests().length,
  stack: [Error.stackTraceLimit, typeof Error.prepareStackTrace, new Error('x').stack.split('\n').length],
  global: Reflect.ownKeys(globalThis).map(String).sort(),
  process: Object.entries(Object.getOwnPropertyDescriptors(process))
    .map(([name, { value, enumerable }]) => `${name} ${typeof value} ${enumerable}`)
    .sort(),
  emit: process.emit === require('node:events').prototype.emit,
  events: process.eventNames().map((event) => `${String(event)} ${process.listenerCount(event)}`),
  environment: Object.keys(process.env).filter((name) => /^NODE_(CHANNEL|UNIQUE)|GRACEFUL/.test(name)),
};

/** Every function of an object, by what it is written like. */
function textOf(object) {
  const texts = Reflect.ownKeys(object).map((key) => {
    const { value, get, set, enumerable } = Object.getOwnPropertyDescriptor(object, key);
    return `${String(key)} ${enumerable} ${typeof value === 'function' ? `${value.name} ${value.length} ${value}` : typeof value} ${get} ${set}`;
  });
  return createHash('sha1').update(texts.join('\n')).digest('hex');
}

const classes = {
  net: ['Server', 'Socket'],
  http: ['Server', 'ServerResponse', 'IncomingMessage', 'OutgoingMessage', 'Agent'],
  tls: ['Server', 'TLSSocket'],
  dgram: ['Socket'],
  child_process: ['ChildProcess'],
  events: ['EventEmitter'],
};
first.texts = Object.entries(classes).flatMap(([name, ones]) => {
  const its = require(`node:${name}`);
  return [`${name} ${textOf(its)}`, ...ones.map((one) => `${name}.${one} ${textOf(its[one].prototype)}`)];
});
const { isPrimary, isMaster, isWorker, worker } = require('node:cluster');
first.cluster = { isPrimary, isMaster, isWorker, worker: typeof worker };

const diagnostics = require('node:diagnostics_channel');
const channels = [
  'net.server.socket',
  'http.server.request.start',
  'child_process',
  'udp.socket',
  ...['asyncStart', 'asyncEnd', 'error'].map((end) => `tracing:net.server.listen:${end}`),
];
first.channels = channels.filter((name) => diagnostics.hasSubscribers(name));

const storage = new hooks.AsyncLocalStorage();
const http = require('node:http');
const stores = {};
const server = http.createServer((_request, response) => {
  stores.request = storage.getStore();
  response.end();
});
const keys = () => Reflect.ownKeys(server).map(String).sort();
const before = keys();
storage.run('of the listen', () => server.listen(0, '127.0.0.1', () => onListening()));

function onListening() {
  stores.listening = storage.getStore();
  const more = keys().filter((key) => !before.includes(key));
  const { unmatched } = seen;
  hook.disable();
  const { port } = server.address();
  const ask = () => http.get({ port, host: '127.0.0.1', agent: false }, (response) => response.resume().on('end', () => tell({ more, unmatched, stores })));
  storage.exit(ask);
}

function tell(listening) {
  console.log(JSON.stringify({ ...first, listening }));
  server.close();
}
