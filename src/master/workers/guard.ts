/**
 * What is done for a master that was killed, by nobody of whom it can be expected: a worker whose event loop stands still does not see its channel close, and would
 * keep its port for ever; workers that have dropped root can't remove what a root master leaves. A shell that reads a pipe of ours is told who works and what is to be
 * removed; the end of the pipe is the end of the master. It removes the files that are still the very ones. Who still has his end of the channel open after a while
 * has not noticed, and is killed with his children; so is whoever has not ended when any drain must be over. One shell, of about a megabyte; should somebody end it,
 * another one is told all of it.
 *
 * Where there is no shell, or no /proc, nobody is killed; workers remove the files as well, where they may.
 */
import type { Kernel } from '../../kernel.ts';
import type { OwnedFile } from '../../owned-file.ts';
import type { DrainTimes } from '../../protocol/worker.ts';

/** For a drain to cut what is left, and to tell. */
const ALLOWANCE_MS = 5000;

/**
 * Lines: `+ PID SECONDS SECONDS` until it has noticed, and until it has ended; `- PID`; `=`: the list of files begins anew; `f INODE PATH`. A process is known by its
 * start time, its channel by what its descriptor 3 leads to: a number that was given out again is nobody's.
 */
const SCRIPT = `
trap '' HUP INT QUIT TERM TTOU TSTP
born() { stat=; read -r stat 2>/dev/null </proc/$1/stat; set -- \${stat##*) }; echo "\${20}"; }
channel() { set -- $(ls -l /proc/$1/fd/3 2>/dev/null); for last; do :; done; echo "$last"; }
known=
files=
while IFS= read -r line; do
  case $line in
    =) files= ;;
    'f '*) files="$files\${line#f }
" ;;
    *)
      set -- $line
      rest=
      for one in $known; do case $one in $2:*) ;; *) rest="$rest $one" ;; esac; done
      known=$rest
      [ "$1" = + ] && known="$known $2:$(born $2):$(channel $2 | tr : ,):$3:$4"
      ;;
  esac
done
printf %s "$files" | while read -r inode path; do
  find "$path" -prune -inum "$inode" '(' -type d -exec rmdir {} ';' -o -exec rm -f {} ';' ')'
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

/** Knows who works, and what is left in the end. */
export interface Guard {
  watch(pid: number, times: DrainTimes): void;
  forget(pid: number): void;
  /** These, and no others, are to be removed. */
  keep(files: readonly OwnedFile[]): void;
  /** No other shell is started any more. */
  end(): void;
}

/** Until another shell is started; it doubles with each that ends within LONGEST_PAUSE_MS. */
const SHORTEST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 60_000;

/** Begins with the first thing that it is told. */
export function makeGuard(kernel: Pick<Kernel, 'startShell' | 'now' | 'after'>): Guard {
  const watched = new Map<number, string>();
  let kept = '';
  const tell = keepTelling(kernel, () => [kept, ...watched.values()].join(''));
  return {
    watch(pid, { drainTimeoutMs, killTimeoutMs, lingerMs }) {
      const end = drainTimeoutMs + ALLOWANCE_MS + lingerMs + killTimeoutMs;
      const line = `+ ${pid} ${seconds(killTimeoutMs)} ${seconds(end)}\n`;
      watched.set(pid, line);
      tell.say(line);
    },
    forget(pid) {
      watched.delete(pid);
      tell.say(`- ${pid}\n`);
    },
    keep(files) {
      kept = `=\n${files.map(({ ino, path }) => (path.includes('\n') ? '' : `f ${ino} ${path}\n`)).join('')}`;
      tell.say(kept);
    },
    end: tell.end,
  };
}

/** Says each thing to the shell that is there; a new one hears `everything`. */
function keepTelling(kernel: Parameters<typeof makeGuard>[0], everything: () => string): { say(line: string): void; end(): void } {
  let shell: ReturnType<Kernel['startShell']> | undefined;
  let pauseMs = SHORTEST_PAUSE_MS;
  let hasEnded = false;
  let cancel: (() => void) | undefined;
  const start = () => {
    cancel = undefined;
    const startedAt = kernel.now();
    shell = kernel.startShell(SCRIPT, () => {
      if (hasEnded || cancel !== undefined) return;
      cancel = kernel.after(pauseMs, start);
      pauseMs = kernel.now() - startedAt > LONGEST_PAUSE_MS ? SHORTEST_PAUSE_MS : Math.min(2 * pauseMs, LONGEST_PAUSE_MS);
    });
    shell.write(everything());
  };
  return {
    say(line) {
      if (shell === undefined) start();
      else if (cancel === undefined) shell.write(line);
    },
    end() {
      hasEnded = true;
      cancel?.();
    },
  };
}

function seconds(ms: number): number {
  return Math.ceil(ms / 1000);
}
