#!/usr/bin/env bash
# build.sh KAJI [--data-dir D]: build the images that the examples name and import them into the node.
# Redis and nginx come from Debian's packages, busybox from busybox-static, the guestbook from this repository.
# With a registry at hand none of this is needed but the guestbook's: the other names are the public ones.
set -euo pipefail
kaji=$1; shift
top=$(cd "$(dirname "$0")/../.." && pwd)
# No cluster to import into: better said now than after the work.
"$kaji" images list "$@" >/dev/null
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$work"

# Unpack a package and what it needs, without scripts and without touching this machine.
unpack() { # ROOT PACKAGE…
  local root=$1; shift
  mkdir -p "$root" debs; (
    cd debs
    apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances "$@" |
      grep '^[a-z0-9]' | grep -vE '^(adduser|debconf.*|perl.*|libperl.*|init-system-helpers|lsb-base|sysvinit-utils|dpkg|passwd|libpam.*|tzdata|iproute2)$' |
      sort -u | xargs -r apt-get download -qq >/dev/null
  )
  for deb in debs/*.deb; do dpkg-deb -x "$deb" "$root"; done
  rm -rf debs "$root"/usr/share/{doc,man,locale,i18n,lintian,bash-completion}
  mkdir -p "$root"/{tmp,run,data,var/log,etc}; chmod 1777 "$root"/tmp "$root"/data
  printf 'root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/var/www:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n' >"$root"/etc/passwd
  printf 'root:x:0:\nwww-data:x:33:\nnogroup:x:65534:\n' >"$root"/etc/group
}
busybox() { # ROOT
  mkdir -p "$1"/bin; (cd "$work" && apt-get download -qq busybox-static >/dev/null && dpkg-deb -x busybox-static_*.deb bb && rm -f busybox-static_*.deb)
  cp bb/bin/busybox "$1"/bin/busybox
  for applet in $("$1"/bin/busybox --list); do [ -e "$1/bin/$applet" ] || ln -s busybox "$1/bin/$applet"; done
}

echo "busybox"; mkdir -p box/{tmp,etc,root}; busybox box
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n' >box/etc/passwd
"$kaji" images pack box --name docker.io/library/busybox:1 --cmd sh -o busybox.tar

echo "redis"; unpack redis redis-server redis-tools; busybox redis
"$kaji" images pack redis --name docker.io/library/redis:7 --entrypoint redis-server -o redis.tar

echo "nginx"; unpack nginx nginx-light; busybox nginx
mkdir -p nginx/var/lib/nginx nginx/var/log/nginx
ln -sf /dev/stdout nginx/var/log/nginx/access.log; ln -sf /dev/stderr nginx/var/log/nginx/error.log
rm -rf nginx/etc/nginx/modules-enabled/*
cat >nginx/etc/nginx/nginx.conf <<'CONF'
user www-data;
worker_processes 1;
pid /run/nginx.pid;
events { worker_connections 256; }
http {
  include mime.types;
  access_log /dev/stdout;
  server { listen 80; root /var/www/html; index index.html index.nginx-debian.html; }
}
CONF
"$kaji" images pack nginx --name docker.io/library/nginx:1 --entrypoint nginx --cmd=-g --cmd 'daemon off;' -o nginx.tar

echo "guestbook"; mkdir guestbook
target=$(uname -m)-unknown-linux-gnu
(cd "$top" && RUSTFLAGS="-C target-feature=+crt-static" cargo build -q --release --target "$target" -p kaji-guestbook)
cp "$top/target/$target/release/guestbook" guestbook/guestbook
"$kaji" images pack guestbook --name localhost/kaji-guestbook:1 --entrypoint /guestbook --user 65532 -o guestbook.tar

"$kaji" images import busybox.tar redis.tar nginx.tar guestbook.tar "$@"
