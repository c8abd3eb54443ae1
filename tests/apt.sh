#!/usr/bin/env bash
# What only the system's package manager can give: PostgreSQL, for the registry's tests; Prometheus and Alertmanager, for
# those of deploy/; Chromium, for those of the console. make test calls this. It installs what is missing as root on
# Debian, and does nothing anywhere else: the tests that need it are skipped there, and say so.
set -euo pipefail

missing=()
services=()
compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || missing+=(postgresql)
for server in prometheus prometheus-alertmanager; do
    if ! command -v "$server" >/dev/null; then
        missing+=("$server")
        services+=("$server")
    fi
done
command -v chromium >/dev/null || missing+=(chromium)
if [ ${#missing[@]} = 0 ]; then
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "no ${missing[*]} here, and not root on Debian to install it: its tests will be skipped"
    exit 0
fi

# The tests start servers of their own, with files in temporary folders: the packages need not start any, now or later.
mkdir -p /etc/postgresql-common
[ -e /etc/postgresql-common/createcluster.conf ] || echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    -o DPkg::Lock::Timeout=300 "${missing[@]}"; } >/dev/null; then
    echo "${missing[*]} could not be installed: its tests will be skipped"
elif [ ${#services[@]} != 0 ] && command -v systemctl >/dev/null; then
    systemctl disable --quiet "${services[@]}" || echo "could not keep ${services[*]} from starting with the machine"
fi
