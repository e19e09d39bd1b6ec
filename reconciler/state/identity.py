"""Who we are: the installation's id, in the database, and its key, in a file that only we can read."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import re
import secrets
import stat
import tempfile
from base64 import b32encode
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import Connection, select, update
from sqlalchemy.engine import URL

from reconciler.errors import InvalidInput
from reconciler.state import tables
from reconciler.state.database import insert_if_absent, sqlite_file
from reconciler.state.leases import Leased
from reconciler.state.model import Installation

KEY_FILE_VARIABLE = "RECONCILE_INSTALLATION_KEY_FILE"
KEY_FILE_NAME = "installation.key"
KEY_BYTES = 32

_ID = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
_CHECK_LABEL = b"reconcile installation key check"


def key_file_of(url: URL, environment: Mapping[str, str]) -> Path | None:
    """Return where the key is: the environment's word, else beside a SQLite file; None when neither says."""
    named = environment.get(KEY_FILE_VARIABLE)
    if named:
        return Path(named)
    file = sqlite_file(url)
    return file.with_name(KEY_FILE_NAME) if file is not None else None


def new_id() -> str:
    """Return a fresh installation id, `inst-` and 8 characters of base32."""
    return "inst-" + b32encode(secrets.token_bytes(5)).decode().lower()


def check_id(text: str) -> str:
    """Return `text` if it can be an installation id. Raises InvalidInput."""
    if not _ID.fullmatch(text):
        raise InvalidInput(
            f"{text[:40]!r} cannot be an installation id",
            hint="Use at most 32 of a-z, 0-9 and -, neither beginning nor ending in -.",
        )
    return text


def read_key(path: Path) -> bytes:
    """Return the key in a file of 64 hex digits.

    Raises: FileNotFoundError; InvalidInput when others may read the file, or when it holds something else.
    """
    with path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            raise InvalidInput(
                f"the installation key {path} can be read by others (mode {mode:04o})",
                hint=f"chmod 600 {path}",
            )
        content = file.read(1024)
    with contextlib.suppress(ValueError):
        key = bytes.fromhex(content.decode("ascii", "replace").strip())
        if len(key) == KEY_BYTES:
            return key
    raise InvalidInput(
        f"the installation key {path} is not {KEY_BYTES * 2} hex digits", hint="Restore it from a backup."
    )


def make_key(path: Path) -> bytes:
    """Write a new key, or return the one that somebody else wrote at the same moment; never half a key."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(KEY_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(name, path)  # fails when the file is there, which a rename would overwrite
    finally:
        Path(name).unlink()
    return read_key(path)


def key_check(key: bytes) -> str:
    """Return what recognises a key without revealing it."""
    return hmac.new(key, _CHECK_LABEL, hashlib.sha256).hexdigest()[:32]


class Identity(Leased):
    """The installation of this store; made at the first question."""

    _key_file: Path | None
    _wanted_id: str | None

    def installation(self) -> Installation:
        """Return who we are, making id and key when there are none yet.

        Raises: InvalidInput when another id was asked for than the store has, when the key file is missing though the
        store has had a key, when the key is not the store's, or when others may read it.
        """
        with self._database.write() as connection:
            found = self._row(connection)
            key = self._key(known=found[1] is not None)
            if found[1] is None:
                connection.execute(update(tables.installation).values(key_check=key_check(key)))
            elif not hmac.compare_digest(found[1], key_check(key)):
                raise InvalidInput(
                    f"the installation key {self._key_file} is not the one that this state was made with",
                    hint="Restore the right key file; with another one every secret would look changed.",
                )
        return Installation(found[0], key)

    def _row(self, connection: Connection) -> tuple[str, str | None]:
        values = {"only": 1, "id": self._wanted_id or new_id(), "key_check": None, "created_at": self._now()}
        insert_if_absent(connection, tables.installation, values)
        columns = tables.installation.c
        row = connection.execute(select(columns.id, columns.key_check).with_for_update()).one()
        if self._wanted_id is not None and row.id != self._wanted_id:
            raise InvalidInput(
                f"this state belongs to the installation {row.id!r}, not {self._wanted_id!r}",
                hint="Use another state URL, or leave out the installation id.",
            )
        return row.id, row.key_check

    def _key(self, *, known: bool) -> bytes:
        if self._key_file is None:
            raise InvalidInput(
                "it is not known where the installation key is",
                hint=f"Set {KEY_FILE_VARIABLE} to a file that only this user can read; it is made when it is missing.",
            )
        try:
            return read_key(self._key_file)
        except FileNotFoundError:
            if known:
                raise InvalidInput(
                    f"the installation key {self._key_file} is missing",
                    hint="Restore it from a backup; with another one every secret would look changed.",
                ) from None
            return make_key(self._key_file)
