#!/usr/bin/env bash
# What only the system's package manager can give: PostgreSQL, for the registry's tests. make test calls this. It
# installs as root on Debian, and does nothing anywhere else: the tests that need it are skipped there, and say so.
set -euo pipefail
if compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null; then
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "no PostgreSQL here, and not root on Debian to install it: its tests will be skipped"
    exit 0
fi
# The tests start a server of their own, in a temporary folder: the package need not start one.
mkdir -p /etc/postgresql-common
[ -e /etc/postgresql-common/createcluster.conf ] || echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql; } >/dev/null; then
    echo "PostgreSQL could not be installed: its tests will be skipped"
fi
