// A name server: every name has an address, which is looked up a moment later, as a forwarder's would be.
const { createUDPServer, Packet } = require('dns2');

createUDPServer((request, send) => {
  const response = Packet.createResponseFromRequest(request);
  const [{ name }] = request.questions;
  response.answers.push({ name, type: Packet.TYPE.A, class: Packet.CLASS.IN, ttl: 1, address: '192.0.2.1' });
  setTimeout(send, 5, response);
}).listen(Number(process.argv[2]), '127.0.0.1');
