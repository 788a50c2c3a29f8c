/**
 * What the program is denied: all that Node can do without. Not `MemoryDenyWriteExecute=`, for V8 writes machine code; not `ProcSubset=pid`, or
 * `os.cpus()` is empty. A user's own systemd can only filter system calls. @see systemd.exec(5), "Sandboxing"
 */
import { realpathSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Config } from '../../config/config.ts';
import { quote } from './quoting.ts';
import type { UnitFacts } from './unit-facts.ts';

const FIRST_FREE_PORT = 1024;

const systemCalls = [
  'NoNewPrivileges=yes',
  'LockPersonality=yes',
  'RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK',
  'RestrictNamespaces=yes',
  'RestrictRealtime=yes',
  'RestrictSUIDSGID=yes',
  'SystemCallArchitectures=native',
  'SystemCallFilter=@system-service',
  'SystemCallFilter=~@privileged @resources',
  'SystemCallErrorNumber=EPERM',
  '# Node would raise it to this by itself, were it allowed to',
  'LimitNOFILE=524288',
  'UMask=0027',
];

const isolation = [
  'PrivateDevices=yes',
  'PrivateMounts=yes',
  'ProtectClock=yes',
  'ProtectControlGroups=yes',
  'ProtectHostname=yes',
  'ProtectKernelLogs=yes',
  'ProtectKernelModules=yes',
  'ProtectKernelTunables=yes',
  'ProtectProc=invisible',
  'RemoveIPC=yes',
];

/** The lines of the unit. */
export function hardening({ config, program, files, owner, sockets }: UnitFacts): string[] {
  if (owner.kind === 'user') return ['# only what a program under Node never needs is denied', ...systemCalls];
  const read = [...program, config.script, config.cwd, ...files, ...config.environmentFile, ...(config.node?.startsWith('/') ? [config.node] : [])].flatMap(
    withTarget,
  );
  const isIn = (...folders: readonly string[]) => [...read, ...writable(config)].some((path) => folders.some((folder) => path.startsWith(`${folder}/`)));
  return [
    '# the whole file system is read-only, but for the folders above and these: add what else the program writes to',
    `ReadWritePaths=${writable(config).map(quote).join(' ')}`,
    'ProtectSystem=strict',
    `ProtectHome=${isIn('/home', '/root', '/run/user') ? 'read-only' : 'yes'}`,
    ...(isIn('/tmp', '/var/tmp') ? ['# not PrivateTmp=: something of it lies in /tmp'] : ['PrivateTmp=yes']),
    ...isolation,
    ...capabilities(config, sockets.length > 0),
    ...systemCalls,
  ];
}

/** A port below 1024 takes a capability, unless systemd opens it. */
function capabilities({ listen }: Config, isActivated: boolean): string[] {
  const isPrivileged = !isActivated && listen.some((spec) => spec.kind !== 'unix' && spec.port > 0 && spec.port < FIRST_FREE_PORT);
  return isPrivileged
    ? ['CapabilityBoundingSet=CAP_NET_BIND_SERVICE', 'AmbientCapabilities=CAP_NET_BIND_SERVICE']
    : ['# for a port below 1024: CAP_NET_BIND_SERVICE, here and as AmbientCapabilities=', 'CapabilityBoundingSet='];
}

/** Folders that the master itself writes to. */
function writable({ logFile, pidFile, runtimeDir, listen }: Config): string[] {
  const files = [logFile, pidFile, ...listen.map((spec) => (spec.kind === 'unix' ? spec.path : undefined))];
  const folders = files.flatMap((file) => (file === undefined ? [] : [dirname(file)]));
  return [...new Set([...folders, ...(runtimeDir === undefined ? [] : [runtimeDir])])];
}

/** Where a path leads, too. */
function withTarget(path: string): string[] {
  try {
    return [path, realpathSync(path)];
  } catch {
    return [path]; // ENOENT: of another machine
  }
}
