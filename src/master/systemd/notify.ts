/**
 * Tells systemd how the fleet is: after every turn of the deciding loop it looks at the fleet, and says what is new. The watchdog is fed in
 * answer to a turn that it asked for itself, so a loop that no longer turns is found out. @see sd_notify(3)
 *
 *   starting ─first reload committed→ ready ⇄ reloading (also back after a failure);  any → stopping
 */
import type { Fleet } from '../../core/fleet.ts';
import type { PidOf } from '../log/wording.ts';
import { type NotifyChannel, type NotifyMessage, openNotifyChannel } from './notify-channel.ts';
import { describeFleet } from './notify-status.ts';

/** While something takes its time systemd is told so this often, each time for three times as long. */
const BUSY_BEAT_MS = 5_000;

/** Speaks to systemd, or to nobody. */
export interface Notifier {
  /** The fleet may have changed. */
  look(fleet: Fleet): void;
  /** Everything is told when this settles. */
  close(): Promise<void>;
}

/** What the notifier needs of the master. */
export interface NotifierHost {
  readonly pidOf: PidOf;
  /** Has the deciding loop turn once; `look` is its answer. */
  turn(): void;
  complain(text: string): void;
}

/** Without systemd nothing at all happens. */
export function openNotifier(env: Readonly<NodeJS.ProcessEnv>, host: NotifierHost): Notifier {
  const channel = openNotifyChannel(env, host.complain);
  return channel === undefined ? { look() {}, close: () => Promise.resolve() } : startNotifier(channel, watchdogOf(env), host);
}

/** `watchdogMs`: within how many milliseconds systemd wants to hear of us; Infinity: it doesn't. */
export function startNotifier(channel: NotifyChannel, watchdogMs: number, host: Pick<NotifierHost, 'pidOf' | 'turn'>): Notifier {
  const describe = describeFleet(host.pidOf);
  let stage: Stage | undefined;
  let status: string | undefined;
  let timer: NodeJS.Timeout | undefined;
  let isBeatDue = false;
  const arm = (periodMs: number) => {
    clearInterval(timer);
    if (periodMs === Number.POSITIVE_INFINITY) return;
    timer = setInterval(() => {
      isBeatDue = true;
      host.turn();
    }, periodMs).unref();
  };
  return {
    look(fleet) {
      const [before, statusBefore] = [stage, status];
      [stage, status] = [stageOf(fleet), describe(fleet)];
      const isNew = before?.name !== stage.name || before.reload !== stage.reload;
      // one reload followed at once by the next: whoever waits for the first is answered
      if (isNew && before?.name === 'reloading' && stage.name === 'reloading') channel.send({ READY: '1' });
      // a job that has ended well was ready for a moment
      if (isNew && before?.name === 'starting' && stage.name === 'stopping' && fleet.completed.length > 0) channel.send({ READY: '1' });
      if (isNew) arm(Math.min(stage.name === 'ready' ? Number.POSITIVE_INFINITY : BUSY_BEAT_MS, watchdogMs / 2));
      const message = {
        ...(isNew ? announcement(stage) : {}),
        ...(status === statusBefore ? {} : { STATUS: status }),
        ...(isBeatDue && watchdogMs !== Number.POSITIVE_INFINITY ? { WATCHDOG: '1' } : {}),
        ...((isBeatDue || isNew) && stage.name !== 'ready' ? { EXTEND_TIMEOUT_USEC: String(3 * BUSY_BEAT_MS * 1000) } : {}),
      };
      isBeatDue = false;
      if (Object.keys(message).length > 0) channel.send(message);
    },
    close() {
      clearInterval(timer);
      return channel.close();
    },
  };
}

interface Stage {
  readonly name: 'starting' | 'ready' | 'reloading' | 'stopping';
  /** Generation of the reload. */
  readonly reload?: number;
}

function stageOf({ phase, generation, reload }: Fleet): Stage {
  if (phase !== 'running') return { name: 'stopping' };
  if (generation === 0) return { name: 'starting' };
  // a canary without an end is a state to be in, and nobody is to wait for it
  const isHeld = reload.phase === 'holding' && reload.deadline === Number.POSITIVE_INFINITY && reload.isOver !== true;
  return reload.phase === 'idle' || isHeld ? { name: 'ready' } : { name: 'reloading', reload: reload.generation };
}

function announcement({ name }: Stage): NotifyMessage {
  switch (name) {
    case 'starting':
      return {};
    case 'ready':
      return { READY: '1', MAINPID: String(process.pid) };
    case 'reloading':
      return { RELOADING: '1', MONOTONIC_USEC: String(process.hrtime.bigint() / 1000n) };
    case 'stopping':
      return { STOPPING: '1' };
  }
}

/** @see sd_watchdog_enabled(3) */
function watchdogOf({ WATCHDOG_USEC, WATCHDOG_PID }: Readonly<NodeJS.ProcessEnv>): number {
  const isMeant = WATCHDOG_PID === undefined || Number(WATCHDOG_PID) === process.pid;
  const ms = Number(WATCHDOG_USEC) / 1000;
  return isMeant && ms > 0 ? ms : Number.POSITIVE_INFINITY;
}
