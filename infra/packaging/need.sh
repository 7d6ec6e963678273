#!/bin/sh
# need.sh PACKAGE COMMAND [ARGUMENT...]
#
# Makes sure that COMMAND succeeds on this machine, since the project's set-up cannot do without it. If it does
# not: root on Debian gets PACKAGE by apt-get, everyone else is told what to install.
set -eu

package=$1
shift
if "$@" >/dev/null 2>&1; then
    exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "setup: \`$*\` does not work here. Install it (on Debian: apt-get install $package), then try again." >&2
    exit 1
fi
echo "setup: Debian package $package"
export DEBIAN_FRONTEND=noninteractive
apt-get install --quiet=2 --yes --no-install-recommends "$package" >/dev/null 2>&1 || {
    apt-get update --quiet=2 >/dev/null
    apt-get install --quiet=2 --yes --no-install-recommends "$package" >/dev/null
}
"$@" >/dev/null 2>&1 || {
    echo "setup: \`$*\` does not work, although $package is installed." >&2
    exit 1
}
