/** nginx in front of a server, with one connection to it that is kept. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { poll } from '../rig.ts';
import type { Target } from './clients.ts';

const passes = { https: 'proxy_pass https:', h2c: 'grpc_pass grpc:', h2: 'grpc_pass grpcs:' } as const;

/** Starts it at a Unix socket. */
export async function startNginx({ protocol, port, folder }: Target): Promise<{ readonly socketPath: string; stop(): Promise<void> }> {
  const socketPath = join(folder, 'nginx.sock');
  const config = join(folder, 'nginx.conf');
  const pass = passes[protocol as keyof typeof passes];
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${folder}/${name};`).join(' ');
  writeFileSync(
    config,
    `daemon off; master_process off; pid ${folder}/pid; error_log ${folder}/error.log;
events {}
http {
  access_log off; keepalive_requests 1000000; ${temporary}
  upstream program { server 127.0.0.1:${port}; keepalive 1; keepalive_requests 1000000; keepalive_timeout 1h; }
  server {
    listen unix:${socketPath};
    location / { proxy_http_version 1.1; proxy_set_header Connection ""; proxy_next_upstream off; grpc_next_upstream off; proxy_ssl_protocols TLSv1.3; grpc_ssl_protocols TLSv1.3; ${pass}//program; }
  }
}\n`,
  );
  const child = spawn('nginx', ['-c', config, '-p', folder], { env: { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin` }, stdio: 'ignore' });
  const ended = once(child, 'close');
  await poll(
    () => existsSync(socketPath),
    () => 'nginx has not started',
  );
  return {
    socketPath,
    async stop() {
      child.kill('SIGTERM');
      await ended;
    },
  };
}
