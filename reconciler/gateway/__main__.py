"""`python -m reconciler.gateway`: run a gateway."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from reconciler.gateway import command_line, json_logs


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until told to stop. Returns 0 after a clean stop, 1 when it cannot start, 64 for a wrong command line."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = command_line.parser().parse_args(given)
    os.umask(0o077)  # the database holds sealed keys and who called what
    json_logs.configure(options.log_level)
    parent = options.workers > 1 and options.worker is None
    # Imported by name: the parent of workers serves nothing and stays small that way.
    room = import_module("reconciler.gateway.workers" if parent else "reconciler.gateway.server")
    code: int = room.start(options, given)
    return code


if __name__ == "__main__":
    sys.exit(main())
