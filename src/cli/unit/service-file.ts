/** The text of a unit file for one program: what it has to say, and why. @see systemd.service(5), systemd.exec(5), systemd.kill(5) */
import { basename } from 'node:path';
import type { Config } from '../../config/config.ts';
import { hardening } from './hardening.ts';
import { noSpecifiers, quote, quoteArguments, toText } from './quoting.ts';
import type { UnitFacts } from './unit-facts.ts';

/** For systemd and the kernel to do their part after ours, and before anybody waits for good. */
const MARGIN_S = 10;
/** `OpenFile=`, `Type=notify-reload` */
const NOTIFY_RELOAD_VERSION = 253;
/** The descriptor store can be reached, and is announced, by FDSTORE. */
const STORE_VERSION = 254;

/** The `.service` file. */
export function serviceFile(facts: UnitFacts): string {
  const { config, owner, sockets } = facts;
  const isSystem = owner.kind === 'system';
  return toText([
    `# ${config.name}.service, written by "graceful-super unit" for systemd ${facts.systemdVersion}`,
    '',
    '[Unit]',
    `Description=${config.name}, supervised by graceful-super`,
    ...(isSystem ? ['After=network.target'] : []),
    ...(sockets.length > 0 ? [`Requires=${sockets.join(' ')}`, `After=${sockets.join(' ')}`] : []),
    '',
    '[Service]',
    ...starting(facts),
    '',
    ...stopping(config),
    '',
    ...surroundings(facts),
    '',
    ...hardening(facts),
    '',
    '[Install]',
    `WantedBy=${isSystem ? 'multi-user.target' : 'default.target'}`,
    ...(sockets.length > 0 ? [`Also=${sockets.join(' ')}`] : []),
  ]);
}

function starting({ config, program, args, owner, systemdVersion, sockets }: UnitFacts): string[] {
  const { name } = config;
  const [node, script] = program;
  const run = [quote(node), ...quoteArguments([script])];
  const where = `--name ${name} --runtime-dir ${runtimeDirOf(config)}`;
  const notifySocket = owner.kind === 'system' ? '/run/systemd/notify' : `/run/user/${owner.uid}/systemd/notify`;
  const isNew = systemdVersion >= NOTIFY_RELOAD_VERSION;
  const hasStore = systemdVersion >= STORE_VERSION;
  return [
    isNew
      ? '# "systemctl start" returns when the program serves; "reload" sends SIGHUP and returns when the new code serves, or was refused (see StatusText)'
      : '# "systemctl start" returns when the program serves; "reload" when the new code serves, and fails when it was refused',
    `Type=${isNew ? 'notify-reload' : 'notify'}`,
    ...(isNew ? [`OpenFile=${notifySocket}:notify`] : []),
    ...(isNew && !hasStore ? [] : ['# systemd-notify speaks for the master; workers are not told where', 'NotifyAccess=all']),
    `ExecStart=${[...run, 'start', where, ...quoteArguments(args)].join(' ')}`,
    ...(isNew ? [] : [`ExecReload=${run.join(' ')} reload ${name} --runtime-dir ${runtimeDirOf(config)}`]),
    ...(sockets.length > 0 ? [`Sockets=${sockets.join(' ')}`] : []),
    ...(hasStore ? ['# listening sockets outlive a master that was killed, and a restart', 'FileDescriptorStoreMax=64'] : []),
    '# --ready-timeout, for each batch of workers; while a start or a reload goes on, the master asks for more time',
    `TimeoutStartSec=${startSeconds(config)}`,
    '# the master answers from the loop that decides; one that hangs is replaced',
    'WatchdogSec=30',
    ...(config.restart === 'never'
      ? ['# --restart never: it ends with the exit code of the program', 'Restart=no']
      : [
          'Restart=on-failure',
          'RestartSec=1',
          '# wrong usage or configuration, and a folder that can not be written to, do not mend themselves',
          'RestartPreventExitStatus=2 3 4 33',
        ]),
  ];
}

function stopping({ drainTimeout, linger, killTimeout }: Config): string[] {
  return [
    '# a stop is told to the master alone, and it drains its workers; whatever is left when it has ended, or is killed, is killed at once',
    'KillMode=mixed',
    '# --drain-timeout, --linger and --kill-timeout, and a margin',
    `TimeoutStopSec=${Math.ceil((drainTimeout + linger + killTimeout) / 1000) + MARGIN_S}`,
    '# a worker that runs out of memory is replaced by the master',
    'OOMPolicy=continue',
  ];
}

function surroundings({ config, owner }: UnitFacts): string[] {
  const user = owner.kind === 'user' ? [] : owner.user === 'dynamic' ? ['DynamicUser=yes'] : [`User=${owner.user}`];
  return [
    ...user,
    ...(owner.kind === 'system' && owner.user === 'root' ? ['# better a user of its own: --run-as'] : []),
    `WorkingDirectory=${noSpecifiers(config.cwd)}`,
    ...(config.runtimeDir === undefined
      ? [
          `# the control socket; by hand: graceful-super status ${config.name}`,
          `RuntimeDirectory=${basename(runtimeDirOf(config))}`,
          // a dynamic user's would leave a link that keeps a later service of another user from starting
          ...(owner.kind === 'system' && owner.user === 'dynamic' ? [] : ['RuntimeDirectoryPreserve=restart']),
        ]
      : []),
    `# a folder to write to, ${owner.kind === 'system' ? `/var/lib/${config.name}` : 'in ~/.local/state or ~/.config'}; $STATE_DIRECTORY`,
    `# StateDirectory=${config.name}`,
    '# a secret, in a file of $CREDENTIALS_DIRECTORY',
    `# LoadCredential=token:/etc/${config.name}/token`,
    '# Environment=NODE_ENV=production',
    `SyslogIdentifier=${config.name}`,
  ];
}

/** One batch after the other may take as long as a worker may. */
function startSeconds({ workers, surge, readyTimeout, probation }: Config): number {
  return Math.ceil((Math.ceil(workers / surge) * readyTimeout + probation) / 1000) + MARGIN_S;
}

/** As it stands in the unit: %t is /run, or $XDG_RUNTIME_DIR. */
function runtimeDirOf({ runtimeDir, name }: Config): string {
  return runtimeDir === undefined ? `%t/graceful-super-${name}` : (quoteArguments([runtimeDir])[0] as string);
}
