"""The command line of `python -m reconciler.gateway`.

A parent of workers reads it too and must stay small: what it says is made into settings elsewhere.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from reconciler.gateway.dataplane.upstream import UPSTREAMS
from reconciler.gateway.listening import Listen

DATABASE_VARIABLE = "RECONCILE_GATEWAY_DATABASE_URL"
REDIS_VARIABLE = "RECONCILE_GATEWAY_REDIS_URL"


def parser() -> argparse.ArgumentParser:
    """Return the parser of one process' command line."""
    made = _Parser(prog="python -m reconciler.gateway", description=__doc__)
    made.add_argument(
        "--listen", required=True, type=_address, metavar="HOST:PORT", help="port 0: any free one"
    )
    made.add_argument(
        "--data", required=True, type=Path, metavar="DIR", help="folder for state; made when absent"
    )
    made.add_argument(
        "--tokens-file",
        required=True,
        type=Path,
        metavar="FILE",
        help="lines `admin TOKEN` or `viewer TOKEN`, mode 0600",
    )
    made.add_argument("--ready-file", type=Path, metavar="FILE", help="gets the URL once requests are taken")
    made.add_argument(
        "--drain-seconds", type=float, default=30.0, metavar="N", help="let requests finish (30)"
    )
    made.add_argument(
        "--database-url-file",
        type=Path,
        metavar="FILE",
        help=f"SQLAlchemy URL; or ${DATABASE_VARIABLE}; else SQLite",
    )
    made.add_argument(
        "--redis-url-file",
        type=Path,
        metavar="FILE",
        help=f"redis://HOST:PORT/DB for runtime state shared by many processes; or ${REDIS_VARIABLE}; else memory",
    )
    made.add_argument(
        "--upstream", default="pool", choices=sorted(UPSTREAMS), help="client towards the hosts (pool)"
    )
    made.add_argument("--master-key-file", type=Path, metavar="FILE", help="32 bytes in base64, mode 0600")
    made.add_argument(
        "--other-master-key-file",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a master key that counts beside it, while one replaces the other; may be given again",
    )
    made.add_argument(
        "--allowed-endpoints",
        nargs="+",
        default=[],
        metavar="SCHEME://HOST[:PORT]",
        help="hosts may be only there",
    )
    made.add_argument(
        "--allowed-networks",
        nargs="+",
        default=[],
        metavar="CIDR",
        help="connections to hosts go only there; looked at for every connection (all but link-local)",
    )
    made.add_argument("--replica", default="", metavar="NAME", help="name of this process among the replicas")
    made.add_argument("--keep-logs-days", type=float, default=30.0, metavar="N")
    made.add_argument("--keep-log-rows", type=int, default=5_000_000, metavar="N", help="of each log")
    made.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    made.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="processes behind one socket; more than 1 needs Redis",
    )
    # How a parent tells its workers apart; not for people.
    made.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    made.add_argument("--listen-fd", type=int, help=argparse.SUPPRESS)
    return made


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(64, f"{self.prog}: {message}\n")


def _address(text: str) -> tuple[str, int]:
    host, separator, port = text.rpartition(":")
    if not separator or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host.strip("[]") or "127.0.0.1", int(port)


def listen_of(options: argparse.Namespace) -> Listen:
    """Return where a command line says to listen."""
    host, port = options.listen
    return Listen(host, port, options.ready_file, options.drain_seconds)
