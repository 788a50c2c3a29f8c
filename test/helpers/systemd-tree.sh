#!/usr/bin/env bash
# systemd-tree.sh SUITE FOLDER: unpacks a Debian suite with its systemd into FOLDER, where it is not there yet; packages come from where this machine's do.
# Exit code 77, reason on stderr: not possible here.
set -euo pipefail
suite=$1 folder=$2
[ ! -d "$folder" ] || exit 0
[ "$EUID" = 0 ] || { echo 'needs root' >&2; exit 77; }
command -v mmdebstrap > /dev/null || { echo 'needs mmdebstrap' >&2; exit 77; }
mirror=$({ cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2> /dev/null || true; } | sed -nE 's/^(URIs: *|deb (\[[^]]*\] )?)([^ ]+).*/\3/p' | head -n 1)
[ -n "$mirror" ] || { echo 'no Debian mirror is configured' >&2; exit 77; }
mkdir -p "$(dirname "$folder")"
exec 9> "$folder.lock" # test files run side by side
flock 9
[ ! -d "$folder" ] || exit 0
unfinished=$(mktemp -d -p "$(dirname "$folder")")
trap 'rm -rf "$unfinished" "$folder.lock"' EXIT
if ! timeout -k 5 300 mmdebstrap -q --mode=root --variant=extract --aptopt='Acquire::Check-Valid-Until "false"' \
  --include=systemd,mount,util-linux,coreutils,dash,bash,libstdc++6,libatomic1,libseccomp2 \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  "$suite" "$unfinished" "$mirror" > "$unfinished.log" 2>&1; then
  echo "mmdebstrap failed: $(tail -n 1 "$unfinished.log")" >&2
  rm -f "$unfinished.log"
  exit 77
fi
rm -f "$unfinished.log"
chmod 755 "$unfinished"
mv "$unfinished" "$folder"
