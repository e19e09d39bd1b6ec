#!/usr/bin/env bash
# Install the programs that the tests start themselves: PostgreSQL, Redis and Chromium. Called by `make services`.
set -euo pipefail
cd "$(dirname "$0")/.."
root=""
[ "$(id -u)" = 0 ] || root="sudo"
missing=()
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || missing+=(postgresql)
command -v redis-server >/dev/null || missing+=(redis-server)
command -v chromium chromium-browser google-chrome >/dev/null || missing+=(chromium)
[ ${#missing[@]} -gt 0 ] || exit 0

echo "services: installing ${missing[*]} with apt (the tests start private copies; no service is started)"
# While this policy stands, the packages start no service.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $root tee "$policy" >/dev/null
    $root chmod 755 "$policy"
    trap '$root rm -f "$policy"' EXIT
fi
deploy/apt-install.sh "${missing[@]}"
