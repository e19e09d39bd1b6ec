#!/usr/bin/env bash
# Install the programs that the tests start themselves: PostgreSQL and Redis. Called by `make services`.
set -euo pipefail
root=""
[ "$(id -u)" = 0 ] || root="sudo"
missing=()
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || missing+=(postgresql)
command -v redis-server >/dev/null || missing+=(redis-server)
[ ${#missing[@]} -gt 0 ] || exit 0

echo "services: installing ${missing[*]} with apt (the tests start private copies; no service is started)"
# A policy of 101 and no main cluster: the packages start nothing of their own.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $root tee "$policy" >/dev/null
    $root chmod 755 "$policy"
    trap '$root rm -f "$policy"' EXIT
fi
$root apt-get update -qq
$root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
