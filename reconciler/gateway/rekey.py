"""`python -m reconciler.gateway.rekey`: move what is stored to another master key, while gateways go on serving.

1. Make the new key; start every gateway with `--other-master-key-file NEW` beside the one in use.
2. Start every gateway with `--master-key-file NEW --other-master-key-file OLD`: what is stored from now on is NEW's.
3. Run this with the same two options: it encrypts every gateway key anew. Consumers' keys are stored as hashes only
   and move when they are used, or put again; run it again until it names none.
4. Start every gateway without OLD.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from reconciler.gateway.contract import StorageUnavailable
from reconciler.gateway.keys import Keys, Unsealable, UnusableKeyFile, load_master_key
from reconciler.gateway.settings import database_url
from reconciler.gateway.storage import ForeignMasterKey, ForeignSchema, Storage
from reconciler.gateway.times import utc_now

LEFT = 3
"""Exit code: done, but some consumers' keys are still known by another master key's hashes only."""
_NAMED = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 when nothing needs the other master keys any more, 3 when consumers' keys do, 1 when it cannot run."""
    options = _parser().parse_args(arguments)
    try:
        keys = Keys(*(load_master_key(file, create=False) for file in _files(options)))
        url = database_url(options.data, options.database_url_file)
        storage = Storage.open(url, now=utc_now, check_values=keys.check_values)
        try:
            return _report(*rekey(storage, keys))
        finally:
            storage.close()
    except (UnusableKeyFile, StorageUnavailable, ForeignSchema, ForeignMasterKey, Unsealable) as error:
        sys.stderr.write(f"rekey: {error}\n")
        return 1


def rekey(storage: Storage, keys: Keys) -> tuple[int, list[str]]:
    """Return how many gateway keys were encrypted anew, and which consumers' keys another master key still hashes.

    All gateway keys move in one transaction, or none. Raises StorageUnavailable, Unsealable.
    """

    def again(name: str, version: str, sealed: bytes) -> bytes | None:
        if sealed.startswith(keys.id):
            return None
        return keys.seal(name, version, keys.open(name, version, sealed))

    moved = storage.key_versions.reseal(again)
    storage.master_key_changed()
    return moved, [f"{name} {version}" for name, version in storage.key_versions.hashed_otherwise(keys.id)]


def _report(moved: int, left: Sequence[str]) -> int:
    sys.stdout.write(f"{moved} gateway keys encrypted anew\n")
    if not left:
        sys.stdout.write("nothing needs the other master key any more\n")
        return 0
    sys.stdout.write(f"{len(left)} managed keys not used since: keep the other master key for them\n")
    sys.stdout.writelines(f"  {name}\n" for name in left[:_NAMED])
    return LEFT


def _files(options: argparse.Namespace) -> list[Path]:
    return [options.master_key_file, *options.other_master_key_file]


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m reconciler.gateway.rekey",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--data", type=Path, required=True, metavar="DIR", help="the gateway's folder")
    made.add_argument("--database-url-file", type=Path, metavar="FILE", help="as the gateway has it")
    made.add_argument("--master-key-file", type=Path, required=True, metavar="NEW", help="to move to")
    made.add_argument(
        "--other-master-key-file",
        type=Path,
        action="append",
        required=True,
        metavar="OLD",
        help="to move from",
    )
    return made


if __name__ == "__main__":
    sys.exit(main())
