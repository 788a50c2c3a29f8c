// The program that every supervisor of Node programs runs: answers with the number of its thread, which is that of its process but for supervisors that
// run programs in threads, and at /kb with a KB; stops as most programs do. Speaks PROTOCOL, encrypted by the files KEY and CERT.
const { readFileSync, readlinkSync } = require('node:fs');

const { PROTOCOL = 'http', KEY, CERT, PORT, SERVER_STARTER_PORT } = process.env;
const me = readlinkSync('/proc/thread-self').split('/').at(-1);
const kilobyte = 'x'.repeat(1024);
const secure = () => ({ key: readFileSync(KEY), cert: readFileSync(CERT) });
const answer = (request, response) => {
  const text = request.url === '/kb' ? kilobyte : me;
  if (request.method === 'GET') return response.end(text);
  request.on('data', () => {}).once('end', () => response.end(text));
};
const create = {
  http: () => require('node:http').createServer(answer),
  ws: () => echoMessages(require('node:http').createServer(answer)),
  https: () => require('node:https').createServer(secure(), answer),
  wss: () => echoMessages(require('node:https').createServer(secure(), answer)),
  h2c: () => require('node:http2').createServer(answer),
  h2: () => require('node:http2').createSecureServer(secure(), answer),
};

/** `/kb` is no path here, but what is sent. */
function echoMessages(httpServer) {
  const { WebSocketServer } = require('ws');
  const webSockets = new WebSocketServer({ server: httpServer }).on('connection', (webSocket) => {
    webSocket.on('message', (data) => webSocket.send(String(data) === '/kb' ? kilobyte : me)).on('error', () => {});
  });
  import('graceful-super/ws').then(({ handoffWebSockets }) => handoffWebSockets(webSockets)); // does nothing under any other supervisor
  return httpServer;
}

const server = create[PROTOCOL]();
const stop = () => server.close(() => process.exit(0));
process.on('SIGTERM', stop).on('SIGINT', stop);
process.on('message', (message) => message === 'shutdown' && stop()); // how PM2 may ask
globalThis.platformatic?.events?.on('close', stop); // how Watt asks

const inherited = SERVER_STARTER_PORT?.split('=').at(-1);
server.listen(inherited === undefined ? { port: Number(PORT), host: '127.0.0.1', backlog: 4096 } : { fd: Number(inherited) });
