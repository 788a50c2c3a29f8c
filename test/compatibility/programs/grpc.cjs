// gRPC by @grpc/grpc-js: a call and a stream, without a schema; TLS with the files KEY and CERT. Tells of each connection whether it was accepted or adopted.
const { readFileSync } = require('node:fs');
const http2 = require('node:http2');

const { KEY, CERT, GRACEFUL_SUPER } = process.env;
const { createServer, createSecureServer } = http2; // the library keeps its server to itself

import(GRACEFUL_SUPER).then(({ generation, isAdopted }) => {
  const watch = (server, event) => server.on(event, (socket) => console.log(isAdopted(socket) ? 'adopted' : 'accepted'));
  http2.createServer = (options) => watch(createServer(options), 'connection');
  http2.createSecureServer = (options) => watch(createSecureServer(options), 'secureConnection');
  const { Server, ServerCredentials } = require('@grpc/grpc-js');
  const write = (value) => Buffer.from(JSON.stringify(value));
  const read = (text) => JSON.parse(String(text));
  const method = { requestStream: false, requestSerialize: write, requestDeserialize: read, responseSerialize: write, responseDeserialize: read };
  const service = {
    ask: { ...method, path: '/service/ask', responseStream: false },
    count: { ...method, path: '/service/count', responseStream: true },
  };
  const server = new Server();
  server.addService(service, {
    ask: ({ request }, answer) => answer(null, { ...request, generation }),
    count(call) {
      for (let number = 1; number <= call.request.until; number++) call.write({ number });
      call.end();
    },
  });
  const pair = () => [{ private_key: readFileSync(KEY), cert_chain: readFileSync(CERT) }];
  const credentials = process.argv[2] === 'h2' ? ServerCredentials.createSsl(null, pair()) : ServerCredentials.createInsecure();
  server.bindAsync('127.0.0.1:0', credentials, (error) => {
    if (error) throw error;
  });
});
