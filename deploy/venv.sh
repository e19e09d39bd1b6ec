#!/usr/bin/env bash
# Make .venv from the lock file, with the project itself installed in place. Called by `make venv`.
set -euo pipefail
cd "$(dirname "$0")/.."
exec 9<deploy/requirements.lock
flock 9  # two makes at once wait for each other

if [ -z "${PYTHON:-}" ]; then
    echo "venv: needs Python 3.11 or later on PATH (on Debian: apt-get install python3)" >&2
    exit 1
fi
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "venv: $PYTHON is $("$PYTHON" -V 2>&1), and 3.11 or later is needed" >&2
    exit 1
}
if ! "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null; then
    version="$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
    echo "venv: $PYTHON has no ensurepip, installing Debian's python$version-venv"
    deploy/apt-install.sh "python$version-venv"
fi
if [ ! -x .venv/bin/python ] || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    echo "venv: making .venv with $("$PYTHON" -V)"
    rm -rf .venv
    "$PYTHON" -m venv .venv
fi

# A changed pyproject.toml alone (a ruff rule, say) needs no second look at eighty packages.
locked="$(sha256sum < deploy/requirements.lock)"
if [ "$(cat .venv/.locked 2>/dev/null)" != "$locked" ]; then
    echo "venv: installing deploy/requirements.lock, checked by hash"
    rm -f .venv/.locked
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
        -r deploy/requirements.lock
    echo "$locked" > .venv/.locked
fi
echo "venv: installing reconciler in place"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
touch .venv/.ready
