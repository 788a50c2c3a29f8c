#!/usr/bin/env bash
# systemd-lab.sh TREE NODE PROJECT FOLDER
# Boots a real systemd as PID 1 of namespaces and a cgroup of its own: root from TREE (thrown away in the end), NODE as /usr/bin/node, PROJECT read-only
# as /opt/graceful-super, FOLDER as /srv/lab with unit files in units/. Prints READY and the pid of PID 1; tears everything down when stdin closes.
# A systemd without its own cgroup would move every process of the machine. Exit code 77, reason on stderr: not possible here.
set -euo pipefail
self=$(readlink -f "$0")

join_cgroup() { # we are PID 1 of the lab: nobody else enters its cgroup
  echo 0 > "$5/cgroup.procs"
  exec unshare --cgroup -- "$self" --become "$1" "$2" "$3" "$4"
}

become_systemd() {
  local tree=$1 node=$2 project=$3 folder=$4 top=$4/root root=$4/root/merged device
  mount -t tmpfs -o mode=755 lab "$top"
  mkdir "$top/upper" "$top/work" "$root"
  mount -t overlay -o "lowerdir=$tree,upperdir=$top/upper,workdir=$top/work" lab "$root"
  mkdir -p "$root"/{proc,sys,dev,run,tmp,var/log,etc/systemd/system,opt/graceful-super,srv/lab,usr/local/bin}
  mount -t tmpfs lab "$root/etc/systemd/system"
  mount -t tmpfs -o mode=1777 lab "$root/tmp"
  mount -t tmpfs -o mode=755 lab "$root/var/log"
  mount -t tmpfs -o mode=755 lab "$root/run"
  mkdir "$root/run/lock"
  mount -t proc proc "$root/proc"
  mount --bind "$root/proc/sys" "$root/proc/sys"
  mount -o remount,bind,ro "$root/proc/sys" # PID 1 would raise sysctls of the machine
  mount --bind -o ro /sys "$root/sys"
  mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
  mount -t tmpfs -o mode=755 lab "$root/dev"
  mkdir "$root"/dev/{pts,shm}
  mount -t tmpfs -o mode=1777 lab "$root/dev/shm"
  mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
  ln -s pts/ptmx "$root/dev/ptmx"
  ln -s /proc/self/fd "$root/dev/fd"
  for device in null zero full random urandom tty; do
    : > "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
  done
  [ -e "$root/etc/passwd" ] || cp /etc/passwd /etc/group "$root/etc/" # an unpacked tree has none
  : >> "$root/usr/bin/node"
  mount --bind -o ro "$node" "$root/usr/bin/node"
  mount --bind -o ro "$project" "$root/opt/graceful-super"
  ln -sf /opt/graceful-super/bin/graceful-super.js "$root/usr/local/bin/graceful-super" # as npm install --global does
  mount --bind "$folder" "$root/srv/lab"
  [ -s "$root/etc/machine-id" ] || tr -d - < /proc/sys/kernel/random/uuid > "$root/etc/machine-id" # without one systemd takes it for a first boot
  cd "$root"
  pivot_root . .
  umount -l .
  mount --make-rshared /
  exec env -i container=lab PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin SYSTEMD_GENERATOR_PATH=/none \
    SYSTEMD_ENVIRONMENT_GENERATOR_PATH=/none SYSTEMD_UNIT_PATH=/srv/lab/units:/etc/systemd/system:/run/systemd/system:/run/systemd/transient \
    /lib/systemd/systemd --system --unit=lab.target --log-target=journal --show-status=no
}

skip() {
  echo "$*" >&2
  exit 77
}

write_targets() { # a boot of nothing but a journal
  local units=$1 tree=$2 name
  for name in sysinit basic sockets timers paths network network-online multi-user; do
    printf '[Unit]\nDescription=%s\n' "$name" > "$units/$name.target"
  done
  printf '[Unit]\nRequires=sysinit.target systemd-journald.service\nAfter=systemd-journald.service\nWants=multi-user.target\n' > "$units/lab.target"
  cp -L "$tree"/lib/systemd/system/{systemd-journald.service,systemd-journald.socket,shutdown.target,umount.target,final.target} "$units/"
}

tear_down() {
  set +e
  echo 1 > "$cgroup/cgroup.kill"
  wait "$outer" 2> /dev/null
  for _ in {1..250}; do
    find "$cgroup" -depth -type d -exec rmdir {} + 2> /dev/null
    [ -d "$cgroup" ] || { rm -rf "$folder"; return 0; } # also where the test has died
    sleep .02
  done
  echo "the cgroup $cgroup is left" >&2
  exit 1
}

case $1 in
  --join) shift && join_cgroup "$@" ;;
  --become) shift && become_systemd "$@" ;;
esac

tree=$1 folder=$4
[ "$EUID" = 0 ] || skip 'needs root'
[ -x "$tree/lib/systemd/systemd" ] || skip "no systemd in $tree"
cgroups=$(findmnt -rnt cgroup2 -o TARGET | head -1)
[ -n "$cgroups" ] || skip 'needs a mounted cgroup2'
unshare --mount --pid --cgroup --fork true 2> /dev/null || skip 'needs namespaces'
cgroup=$cgroups/graceful-super-lab-$$
mkdir "$cgroup" 2> /dev/null || skip "cannot make a cgroup in $cgroups"
outer=
trap tear_down EXIT
trap 'exit 130' INT TERM HUP
mkdir -p "$folder/units" "$folder/root"
chmod 755 "$folder"
write_targets "$folder/units" "$tree"
setpriv --pdeathsig KILL unshare --mount --uts --ipc --pid --fork --kill-child --propagation private \
  "$self" --join "$@" "$cgroup" 2> "$folder/boot.log" < /dev/null &
outer=$!
init=
for _ in {1..1500}; do
  read -r init _ < <(cat "/proc/$outer/task/$outer/children" 2> /dev/null; echo) || :
  # before it has changed its root, it would be the machine's systemd that answers
  state=$([ -n "$init" ] && nsenter -t "$init" -m -p -- sh -c 'test -d /srv/lab/units && systemctl is-system-running' 2> /dev/null || :)
  [ "$state" != running ] || break
  kill -0 "$outer" 2> /dev/null || skip "cannot boot: $(tail -n 1 "$folder/boot.log")"
  sleep .02
done
[ "$state" = running ] || { cat "$folder/boot.log" >&2; exit 1; }
echo "READY $init"
cat > /dev/null # until whoever holds our stdin lets go, or dies
