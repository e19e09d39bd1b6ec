"""`python -m reconciler.gateway`: run one gateway process."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

from reconciler.gateway import json_logs
from reconciler.gateway.contract import StorageUnavailable
from reconciler.gateway.dataplane.upstream import UPSTREAMS
from reconciler.gateway.endpoints import EndpointPolicy, InvalidPattern
from reconciler.gateway.keys import UnusableKeyFile, read_private
from reconciler.gateway.server import Listen, run
from reconciler.gateway.settings import Settings
from reconciler.gateway.storage import ForeignMasterKey, ForeignSchema

DATABASE_VARIABLE = "RECONCILE_GATEWAY_DATABASE_URL"
REDIS_VARIABLE = "RECONCILE_GATEWAY_REDIS_URL"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until told to stop. Returns 0 after a clean stop, 1 when it cannot start, 64 for a wrong command line."""
    options = _parser().parse_args(arguments)
    os.umask(0o077)  # the database holds sealed keys and who called what
    json_logs.configure(options.log_level)
    try:
        run(_settings(options), _listen(options))
    except (
        InvalidPattern,
        UnusableKeyFile,
        ForeignSchema,
        ForeignMasterKey,
        StorageUnavailable,
        OSError,
    ) as error:
        sys.stderr.write(f"gateway: cannot start: {json_logs.clean(str(error))}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m reconciler.gateway", description=__doc__)
    parser.add_argument(
        "--listen", required=True, type=_address, metavar="HOST:PORT", help="port 0: any free one"
    )
    parser.add_argument(
        "--data", required=True, type=Path, metavar="DIR", help="folder for state; made when absent"
    )
    parser.add_argument(
        "--tokens-file",
        required=True,
        type=Path,
        metavar="FILE",
        help="lines `admin TOKEN` or `viewer TOKEN`, mode 0600",
    )
    parser.add_argument(
        "--ready-file", type=Path, metavar="FILE", help="gets the URL once requests are taken"
    )
    parser.add_argument(
        "--drain-seconds", type=float, default=30.0, metavar="N", help="let requests finish (30)"
    )
    parser.add_argument(
        "--database-url-file",
        type=Path,
        metavar="FILE",
        help=f"SQLAlchemy URL; or ${DATABASE_VARIABLE}; else SQLite",
    )
    parser.add_argument(
        "--redis-url-file",
        type=Path,
        metavar="FILE",
        help=f"redis://HOST:PORT/DB for runtime state shared by many processes; or ${REDIS_VARIABLE}; else memory",
    )
    parser.add_argument(
        "--upstream", default="pool", choices=sorted(UPSTREAMS), help="client towards the hosts (pool)"
    )
    parser.add_argument("--master-key-file", type=Path, metavar="FILE", help="32 bytes in base64, mode 0600")
    parser.add_argument(
        "--allowed-endpoints",
        nargs="+",
        default=[],
        metavar="SCHEME://HOST[:PORT]",
        help="hosts may be only there",
    )
    parser.add_argument(
        "--replica", default="", metavar="NAME", help="name of this process among the replicas"
    )
    parser.add_argument("--keep-logs-days", type=float, default=30.0, metavar="N")
    parser.add_argument("--keep-log-rows", type=int, default=5_000_000, metavar="N", help="of each log")
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    return parser


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(64, f"{self.prog}: {message}\n")


def _address(text: str) -> tuple[str, int]:
    host, separator, port = text.rpartition(":")
    if not separator or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host.strip("[]") or "127.0.0.1", int(port)


def _settings(options: argparse.Namespace) -> Settings:
    return Settings(
        data=options.data,
        tokens_file=options.tokens_file,
        database_url=_secret_url(options.database_url_file, DATABASE_VARIABLE),
        redis_url=_secret_url(options.redis_url_file, REDIS_VARIABLE),
        upstream=options.upstream,
        master_key_file=options.master_key_file,
        policy=EndpointPolicy.parse(options.allowed_endpoints),
        replica=options.replica,
        keep_logs_for=timedelta(days=options.keep_logs_days),
        keep_log_rows=options.keep_log_rows,
    )


def _secret_url(file: Path | None, variable: str) -> str | None:
    """Return a URL that may hold a password: from a file, else from the environment, else None."""
    if file is not None:
        return read_private(file).decode().strip()
    return os.environ.get(variable) or None


def _listen(options: argparse.Namespace) -> Listen:
    host, port = options.listen
    return Listen(host, port, options.ready_file, options.drain_seconds)


if __name__ == "__main__":
    sys.exit(main())
