/** The text of `.socket` units: systemd holds the listening sockets, and starts the service when somebody connects. @see systemd.socket(5) */
import { isIP } from 'node:net';
import type { Config, ListenSpec } from '../../config/config.ts';
import { GracefulError } from '../../errors.ts';
import { noSpecifiers, toText } from './quoting.ts';

/** The files by their names: one for all addresses that share what a unit can say but once, their name and their mode. @throws GracefulError `usage` */
export function socketFiles({ name, listen, backlog }: Pick<Config, 'name' | 'listen' | 'backlog'>): Readonly<Record<string, string>> {
  if (listen.length === 0) throw new GracefulError('usage', '--socket needs an address', { hint: 'add --listen 8080, or whatever the program listens on' });
  const groups = new Map<string, ListenSpec[]>();
  for (const spec of listen) {
    const key = JSON.stringify([spec.name, 'mode' in spec ? spec.mode : null]);
    groups.set(key, [...(groups.get(key) ?? []), spec]);
  }
  const files = [...groups.values()].map((specs, index) => [`${name}${index === 0 ? '' : `-${index + 1}`}.socket`, specs] as const);
  return Object.fromEntries(files.map(([file, specs]) => [file, socketFile(file, name, specs, backlog)]));
}

function socketFile(file: string, service: string, specs: readonly ListenSpec[], backlog: number | undefined): string {
  const [first] = specs as [ListenSpec];
  const mode = first.kind === 'unix' ? first.mode : null;
  return toText([
    `# ${file}, written by "graceful-super unit"`,
    '',
    '[Unit]',
    `Description=Listening sockets of ${service}`,
    '',
    '[Socket]',
    ...specs.map((spec) => `${spec.kind === 'udp' ? 'ListenDatagram' : 'ListenStream'}=${addressOf(spec)}`),
    ...(first.name === null ? [] : [`FileDescriptorName=${first.name}`]),
    ...(mode === null ? [] : [`SocketMode=0${mode.toString(8)}`]),
    ...(backlog === undefined ? [] : [`Backlog=${backlog}`]),
    `Service=${service}.service`,
    '',
    '[Install]',
    'WantedBy=sockets.target',
  ]);
}

function addressOf(spec: ListenSpec): string {
  if (spec.kind === 'unix') return noSpecifiers(spec.path);
  const { host, port } = spec;
  if (host === null) return spec.kind === 'udp' ? `0.0.0.0:${port}` : String(port);
  if (isIP(host) === 0)
    throw new GracefulError('usage', `--listen ${spec.kind === 'udp' ? 'udp:' : ''}${host}:${port}: a socket unit knows addresses, not names`, {
      hint: 'write the IP address',
    });
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;
}
