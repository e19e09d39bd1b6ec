#!/usr/bin/env bash
# Install Debian packages without questions; silent when it goes well, all of apt's words when it does not.
set -euo pipefail
root=""
[ "$(id -u)" = 0 ] || root="sudo"
log="$(mktemp)"
trap 'rm -f "$log"' EXIT
if ! { $root apt-get update && $root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; } \
    >"$log" 2>&1 </dev/null; then
    cat "$log" >&2
    echo "apt: could not install $*" >&2
    exit 1
fi
