#!/usr/bin/env bash
# packages.sh NAME…: install the Debian packages that are missing, if any.
set -euo pipefail
missing=()
for name in "$@"; do
  dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q '^install ok installed' || missing+=("$name")
done
[ ${#missing[@]} -eq 0 ] && exit 0
if ! command -v apt-get >/dev/null; then
  echo "Not a Debian system: install these yourself, by the names your distribution uses: ${missing[*]}" >&2
  exit 0
fi
sudo=$([ "$(id -u)" = 0 ] || echo sudo)
echo "Installing: ${missing[*]}"
$sudo apt-get update -qq
# The distribution's services (containerd, etcd) are not needed: Kaji and its tests run their own, apart from them.
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
