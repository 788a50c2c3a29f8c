/** The libraries whose own tests are run, each pinned: published on npm with their tests, which open servers. */

/** A library and its tests. */
export interface Library {
  readonly name: string;
  readonly version: string;
  /** The test files, as paths in the package. */
  readonly files: RegExp;
  /** Files whose outcome is another one under a supervisor, and why: see docs/compatibility.md. */
  readonly known?: Readonly<Record<string, string>>;
}

export const libraries: readonly Library[] = [
  {
    name: 'fastify',
    version: '5.12.8',
    files:
      /^test\/(404s|build|client-timeout|close.*|connection-timeout|custom-http-server|diagnostics-channel\/.*|has-route|head|http2\/.*|https\/.*|keep-alive.*|listen.*|logger\/(logging|request)|noop-set|reply-error|reply-trailers|request-timeout|server|stream.*|unlock|upgrade|url-rewriting)\.test\.js$/,
    known: {
      'test/close-pipelining.test.js': 'a client of a closed server waits',
      'test/logger/logging.test.js': 'port 0 is the same port again',
    },
  },
  {
    name: '@fastify/reply-from',
    version: '12.6.5',
    files: /^test\/(base.*|full-.*|http2.*|https.*|http-.*|unix-.*|.*stream.*)\.test\.js$/,
    known: {
      'test/full-querystring-url.test.js': 'its address is asked for before it listens',
      'test/http2-target-crash.test.js': 'a client of a closed server waits',
      'test/http2-target-multi-crash.test.js': 'a client of a closed server waits',
    },
  },
  { name: '@fastify/websocket', version: '11.3.6', files: /\.test\.js$/, known: { 'test/base.test.js': 'connected to before it listens' } },
  { name: '@fastify/static', version: '10.1.11', files: /^test\/(content-type|dir-list)\.test\.js$/ },
  { name: 'aedes', version: '1.2.0', files: /^test\/(bridge|close_socket_by_other_party|connect|events|keep-alive|not-blocking)\.js$/ },
  { name: 'hyperquest', version: '2.1.3', files: /^test\/[\w]+\.js$/ },
];

/** What their tests import, and what the example programs are made of. */
export const companions: readonly string[] = [
  '@godaddy/terminus@4.12.1',
  '@hapi/hapi@21.4.10',
  '@hono/node-server@2.1.8',
  '@nestjs/common@12.5.1',
  '@nestjs/core@12.5.1',
  '@nestjs/platform-express@12.5.1',
  '@opentelemetry/api@1.9.0',
  '@opentelemetry/instrumentation-http@0.203.0',
  '@opentelemetry/instrumentation@0.203.0',
  '@opentelemetry/sdk-trace-node@2.2.0',
  'close-with-grace@2.5.0',
  'concat-stream@2.0.0',
  'detect-port@2.1.0',
  'dns2@3.1.1',
  'express@5.3.0',
  'fast-json-body@1.1.0',
  'fastify-cli@8.0.2',
  'findhit-proxywrap@0.3.13',
  'form-data@4.0.5',
  'get-port@7.2.0',
  'h2url@0.2.0',
  'hono@4.13.19',
  'http-graceful-shutdown@4.0.0',
  'http-shutdown@1.2.2',
  'http-terminator@3.2.0',
  'koa@3.3.0',
  'lightship@9.0.3',
  'log4js@6.9.1',
  'mqtt@5.16.0',
  'node-forge@1.3.1',
  'polka@0.5.2',
  'portfinder@1.0.38',
  'proxyquire@2.1.3',
  'reflect-metadata@0.2.2',
  'restify@12.0.0',
  'rxjs@7.8.2',
  'serve@14.2.7',
  'server-destroy@1.0.1',
  'smtp-server@3.21.6',
  'socket.io@4.8.4',
  'statsd@0.9.0',
  'stoppable@1.1.0',
  'tape@4.9.1',
  'tsx@4.23.15',
  'vite@8.3.8',
  'ws@8.23.0',
];
