/** Servers that end TLS and HTTP/2 by themselves: they answer requests from their configuration, and pass WebSockets on to a program that is not reloaded. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isEncrypted } from './connections.ts';
import { ordinary, program, type Running, type Setting } from './running.ts';

/** Starts nginx. */
export async function launchNginx(setting: Setting): Promise<Running> {
  const { port, workers, ground, tools, protocol = 'http' } = setting;
  const folder = ground.folder();
  const behind = await backend(setting);
  const secure = isEncrypted(protocol) ? ' ssl' : '';
  const { KEY, CERT } = ground.certificate();
  const pass = `proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; proxy_pass http://127.0.0.1:${behind};`;
  const config = `daemon off; pid ${folder}/pid; error_log ${folder}/error.log; worker_processes ${workers};
events { worker_connections 16384; }
http {
  access_log off; keepalive_requests 1000000000; keepalive_timeout 75s; ssl_certificate ${CERT}; ssl_certificate_key ${KEY};
  client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy; fastcgi_temp_path ${folder}/f; uwsgi_temp_path ${folder}/u; scgi_temp_path ${folder}/s;
  server { listen 127.0.0.1:${port}${secure}${/^h2/.test(protocol) ? ' http2' : ''} backlog=4096; location / { ${behind === undefined ? 'return 200 $pid;' : pass} } }
}\n`;
  writeFileSync(join(folder, 'nginx.conf'), config);
  const child = ground.spawn(tools.nginx?.path ?? '', ['-c', join(folder, 'nginx.conf'), '-p', folder]);
  return ordinary(child, port, ground, { stop: 'SIGQUIT' });
}

/** Starts HAProxy as master and worker; the worker has a thread for each that is wanted. */
export async function launchHaproxy(setting: Setting): Promise<Running> {
  const { port, workers, ground, tools, protocol = 'http' } = setting;
  const folder = ground.folder();
  const behind = await backend(setting);
  const { KEY, CERT } = ground.certificate();
  const both = join(folder, 'both.pem');
  writeFileSync(both, readFileSync(CERT, 'utf8') + readFileSync(KEY, 'utf8'));
  const alpn = protocol === 'h2' ? 'h2' : 'http/1.1';
  const bind = isEncrypted(protocol) ? `ssl crt ${both} alpn ${alpn}` : protocol === 'h2c' ? 'proto h2' : '';
  const answer = behind === undefined ? 'http-request return status 200 content-type text/plain lf-string %pid' : `server program 127.0.0.1:${behind}`;
  const config = `global
  nbthread ${workers}
  maxconn 4000
defaults
  mode http
  timeout client 75s
  timeout server 75s
  timeout connect 5s
  timeout tunnel 1h
listen all
  bind 127.0.0.1:${port} backlog 4096 ${bind}
  ${answer}\n`;
  writeFileSync(join(folder, 'haproxy.cfg'), config);
  const child = ground.spawn(tools.haproxy?.path ?? '', ['-W', '-f', join(folder, 'haproxy.cfg'), '-p', join(folder, 'pid')]);
  return ordinary(child, port, ground, { reload: 'SIGUSR2', stop: 'SIGTERM' });
}

/** Who WebSockets are passed on to; undefined: they are not spoken. */
async function backend({ ground, protocol = 'http' }: Setting): Promise<number | undefined> {
  if (protocol !== 'wss' && protocol !== 'ws') return undefined;
  const port = await ground.port();
  ground.spawn(process.execPath, [program('server.cjs')], { env: { PORT: String(port), PROTOCOL: 'ws' } });
  return port;
}
