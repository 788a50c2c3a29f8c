// Mail over SMTP; a client may encrypt with STARTTLS, for which the library takes the socket, all listeners removed. A client that says HELO end ends it.
const { SMTPServer } = require('smtp-server');

const server = new SMTPServer({
  name: 'localhost',
  authOptional: true,
  disableReverseLookup: true,
  onData(stream, _session, answer) {
    let length = 0;
    stream.on('data', (bytes) => (length += bytes.length)).on('end', () => answer(null, `${length} bytes`));
  },
  onClose({ hostNameAppearsAs }) {
    if (hostNameAppearsAs === 'end') server.close(() => console.log('closed'));
  },
});
server.on('error', () => {}); // of handshakes that are broken off
server.listen(0, '127.0.0.1', () => console.log(`listening ${server.server.address().port}`));
