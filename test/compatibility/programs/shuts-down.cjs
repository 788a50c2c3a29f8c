// Is ended by a library, as its README says to do it: `node shuts-down.cjs LIBRARY`. Tells when that is done.
const http = require('node:http');

const said = () => console.log('shut down');
const onSignal = (end) => process.once('SIGTERM', end);
const libraries = {
  '@godaddy/terminus': ({ createTerminus }, server) =>
    createTerminus(server, { healthChecks: { '/healthz': async () => 'fine' }, onShutdown: async () => said() }),
  'close-with-grace': (closeWithGrace, server) =>
    closeWithGrace({ delay: 10_000 }, async () => {
      await new Promise((resolve) => server.close(resolve));
      said();
    }),
  'http-graceful-shutdown': (gracefulShutdown, server) => gracefulShutdown(server, { finally: said }),
  'http-shutdown': (withShutdown, server) => {
    withShutdown(server);
    onSignal(() => server.shutdown(said));
  },
  'http-terminator': ({ createHttpTerminator }, server) => {
    const terminator = createHttpTerminator({ server });
    onSignal(() => terminator.terminate().then(said));
  },
  lightship: ({ createLightship }, server) => {
    createLightship({ detectKubernetes: false }).then((lightship) => {
      lightship.registerShutdownHandler(() => new Promise((resolve) => server.close(resolve)));
      lightship.registerShutdownHandler(said);
      lightship.signalReady();
    });
  },
  'server-destroy': (enableDestroy, server) => {
    enableDestroy(server);
    onSignal(() => server.destroy(said));
  },
  stoppable: (stoppable, server) => {
    stoppable(server);
    onSignal(() => server.stop(said));
  },
};

const name = process.argv[2];
const server = http.createServer((_request, response) => response.end('hello'));
import(name).then((library) => {
  libraries[name](library.default ?? library, server);
  server.listen(0, '127.0.0.1');
});
