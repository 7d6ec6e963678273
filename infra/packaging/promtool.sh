#!/bin/sh
# promtool.sh DIRECTORY
#
# Puts Prometheus' promtool there: the one on PATH, else that of Debian's package prometheus, which is unpacked and not
# installed, because that would start a server.
set -eu

directory=$1
mkdir -p "$directory"
if found=$(command -v promtool); then
    ln -sf "$found" "$directory/promtool"
    exit 0
fi
command -v apt-get >/dev/null 2>&1 || {
    echo "setup: promtool is not on PATH, and this is not Debian. Install Prometheus, then try again." >&2
    exit 1
}
echo "setup: promtool from Debian's package prometheus"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work" # apt downloads as a user of its own
cd "$work"
apt-get download --quiet=2 prometheus >/dev/null 2>&1 || {
    apt-get update --quiet=2 >/dev/null
    apt-get download --quiet=2 prometheus
}
dpkg-deb --fsys-tarfile prometheus_*.deb | tar -xf - ./usr/bin/promtool
cd - >/dev/null
mv "$work/usr/bin/promtool" "$directory/promtool"
