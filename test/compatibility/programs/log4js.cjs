const http = require('node:http');
const log4js = require('log4js');

log4js.configure({
  appenders: { out: { type: 'stdout', layout: { type: 'messagePassThrough' } } },
  categories: { default: { appenders: ['out'], level: 'info' } },
});
const log = log4js.getLogger();
const server = http.createServer((request, response) => {
  log.info(`asked for ${request.url}`);
  response.end('logged');
  if (request.url === '/close') server.close(() => log.info('closed'));
});
server.listen(0, '127.0.0.1', () => console.log(`listening ${server.address().port}`));
