"""The embedded host: a sub2api look-alike for newcomers, rehearsals and tests.

In one process: `create_host_app(...)` and `httpx.ASGITransport`. As a process of its own:

    python -m reconciler.embedded.host --listen 127.0.0.1:0 --data DIR --secrets-file FILE --ready-file FILE

The secrets file is a JSON object with any of `admin_email`, `admin_password`, `admin_api_key`, `jwt_secret`; they
count on the first start of a data folder (`jwt_secret` always). `--settings-file` is a JSON object with fields of
HostSettings. Faults are ordered over `PUT /__control/faults`, see reconciler.embedded.faults.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from reconciler.embedded import process
from reconciler.embedded.app import HostApp, create_host_app
from reconciler.embedded.database import Database
from reconciler.embedded.settings import HostSecrets, HostSettings


def parser() -> argparse.ArgumentParser:
    """Return the command line. Secrets come by file, never as arguments."""
    made = argparse.ArgumentParser(
        prog="python -m reconciler.embedded.host", description="Run an embedded host."
    )
    made.add_argument(
        "--listen", default="127.0.0.1:0", metavar="HOST:PORT", help="loopback only; port 0: a free one"
    )
    made.add_argument("--data", type=Path, required=True, metavar="DIR", help="where the state is kept")
    made.add_argument(
        "--secrets-file", type=Path, required=True, metavar="FILE", help="JSON object of secrets"
    )
    made.add_argument("--settings-file", type=Path, metavar="FILE", help="JSON object of settings")
    made.add_argument("--ready-file", type=Path, metavar="FILE", help="gets the base URL once it serves")
    return made


def build(options: argparse.Namespace) -> HostApp:
    """Return the app that the command line asks for. Raises ValueError for files that do not fit."""
    settings = (
        HostSettings.parse(process.read_json(options.settings_file))
        if options.settings_file
        else HostSettings()
    )
    secrets = HostSecrets.parse(process.read_json(options.secrets_file))
    return create_host_app(Database(options.data / "host.sqlite3"), settings, secrets=secrets)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until stopped; return the exit code."""
    options = parser().parse_args(arguments)
    try:
        app = build(options)
        process.main(app, options.listen, options.ready_file)
    except (ValueError, OSError) as error:
        print(f"embedded host: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


__all__ = ["HostApp", "HostSecrets", "HostSettings", "create_host_app", "main"]

if __name__ == "__main__":
    sys.exit(main())
