#!/usr/bin/env bash
# Resolve pyproject.toml into deploy/requirements.lock: every version, by hash, and no index. Called by `make lock`.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "lock: resolving pyproject.toml (UPGRADE=1 takes the newest versions)"
.venv/bin/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-header --no-annotate --quiet ${UPGRADE:+--upgrade} --output-file deploy/requirements.lock >/dev/null
if grep -n '://' deploy/requirements.lock; then
    echo "lock: the lock file names a host" >&2
    exit 1
fi
