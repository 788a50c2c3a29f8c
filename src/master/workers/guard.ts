/**
 * What ends workers that can't end themselves when the master was killed: one whose event loop stands still does not see its channel close, and would keep its port
 * for ever. A shell that reads a pipe of ours is told who works; the end of the pipe is the end of the master. Who still has his end of the channel open after a
 * while has not noticed, and is killed with his children; so is whoever has not ended when any drain must be over. One shell for all workers, of less than 1 MB.
 *
 * Where there is no shell or no /proc nobody is killed; nothing else depends on it.
 */
import type { Kernel } from '../../kernel.ts';
import type { DrainTimes } from '../../protocol/worker.ts';

/** For a drain to cut what is left, and to tell. */
const ALLOWANCE_MS = 5000;

/**
 * Lines: `+ PID SECONDS SECONDS` until it has noticed, and until it has ended; `- PID`. A process is known by its start time, its channel by what its descriptor 3
 * leads to: a number that was given out again is nobody's.
 */
const SCRIPT = `
trap '' HUP INT QUIT TERM TTOU TSTP
born() { stat=; read -r stat 2>/dev/null </proc/$1/stat; set -- \${stat##*) }; echo "\${20}"; }
channel() { set -- $(ls -l /proc/$1/fd/3 2>/dev/null); for last; do :; done; echo "$last"; }
known=
while read -r what pid notice end; do
  rest=
  for one in $known; do case $one in $pid:*) ;; *) rest="$rest $one" ;; esac; done
  known=$rest
  [ "$what" = + ] && known="$known $pid:$(born $pid):$(channel $pid | tr : ,):$notice:$end"
done
seconds=0
while [ -n "$known" ]; do
  rest=
  for one in $known; do
    IFS=: read -r pid born channel notice end <<EOT
$one
EOT
    [ -n "$born" ] && [ "$(born $pid)" = "$born" ] || continue
    if [ $seconds -ge $end ] || { [ $seconds -ge $notice ] && [ "$(channel $pid | tr : ,)" = "$channel" ]; }; then kill -9 -$pid; else rest="$rest $one"; fi
  done
  known=$rest
  [ -n "$known" ] && sleep 1
  seconds=$((seconds + 1))
done
`;

/** Knows who works. */
export interface Guard {
  watch(pid: number, times: DrainTimes): void;
  forget(pid: number): void;
}

/** Begins with the first worker that it is told of. */
export function makeGuard(kernel: Pick<Kernel, 'startShell'>): Guard {
  let shell: ReturnType<Kernel['startShell']> | undefined;
  const say = (line: string) => {
    shell ??= kernel.startShell(SCRIPT);
    shell.write(line);
  };
  return {
    watch(pid, { drainTimeoutMs, killTimeoutMs, lingerMs }) {
      const end = drainTimeoutMs + ALLOWANCE_MS + lingerMs + killTimeoutMs;
      say(`+ ${pid} ${seconds(killTimeoutMs)} ${seconds(end)}\n`);
    },
    forget: (pid) => say(`- ${pid}\n`),
  };
}

function seconds(ms: number): number {
  return Math.ceil(ms / 1000);
}
